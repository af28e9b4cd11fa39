"""``python -m sipgram``."""

from sipgram.cli.main import main

main()

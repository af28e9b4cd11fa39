"""Feeds mutated messages and credentials to both scanners and stops at the first difference.

    python fuzz/differential.py --seconds 60 [--seed N]

A difference is printed with the bytes that made it; the exit code is then 1.
"""

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from property import twins


def main() -> int:
    """Run for the time that was asked for."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--seconds", type=float, default=60.0)
    arguments.add_argument("--seed", type=int, default=time.time_ns())
    asked = arguments.parse_args()
    source = random.Random(asked.seed)
    corpus = twins.corpus()
    ends = time.monotonic() + asked.seconds
    tried = native = 0
    while time.monotonic() < ends:
        # Most from the usual messages: the native twin hands over what is odd from the start.
        data = source.choice(twins.MESSAGES if source.random() < 0.8 else corpus)
        for _ in range(source.choice((1, 1, 1, 2, 3, 6))):
            data = twins.mutated(data, source)
        bare_lf = source.random() < 0.3
        credentials = source.choice(twins.CREDENTIALS)
        for _ in range(source.choice((1, 1, 2, 4))):
            credentials = twins.mutated_credentials(credentials, source)
        found = twins.differences(data, bare_lf=bare_lf)
        if not found:
            found = twins.credential_differences(credentials)
            data = credentials if found else data
        if found:
            sys.stdout.write(f"seed {asked.seed}, bare_lf {bare_lf}\n{data!r}\n")
            sys.stdout.write("\n".join(found) + "\n")
            return 1
        tried += 1
        native += twins.is_native(data, bare_lf=bare_lf)
    sys.stdout.write(f"{tried} messages, {native} read natively, no difference\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

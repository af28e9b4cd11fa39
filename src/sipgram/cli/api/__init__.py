"""What the command line does by the HTTP API, and for it."""

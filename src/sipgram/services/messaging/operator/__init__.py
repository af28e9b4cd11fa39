"""What an administrator sees of stored messages, and does to them beside a running server."""

"""What an administrator does beside a running server: messages, devices, the database."""

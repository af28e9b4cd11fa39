"""Moving in: accounts, aliases and waiting messages of another server's database."""

"""The HTTP toolkit."""

"""One MESSAGE to many."""

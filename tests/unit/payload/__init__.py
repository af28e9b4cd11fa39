"""Body formats."""

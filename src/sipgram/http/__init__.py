"""The HTTP toolkit; routes live with their feature."""

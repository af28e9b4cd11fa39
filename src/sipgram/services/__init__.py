"""What the server does, one folder per feature; services never import each other."""

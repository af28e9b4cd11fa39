"""What standards say, tried on a server that runs as its own process."""

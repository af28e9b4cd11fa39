"""Where a request goes on to, one place after the other."""

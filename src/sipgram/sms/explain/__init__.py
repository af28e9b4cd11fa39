"""Short messages explained octet by octet: ``table`` makes the rows, ``meaning`` their words."""

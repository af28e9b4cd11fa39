"""Bodies: one document format a file, bytes to values and back; no I/O, no clock."""

"""The six TPDUs, a file each, and the parser that tells them apart (TS 23.040 §9.2.2)."""

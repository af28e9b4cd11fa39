"""Lazy SIP messages: an index over the bytes that came in (RFC 3261 §7, §25)."""

"""The protocol ring: SIP bytes, values and state machines, without I/O, clock or chance."""

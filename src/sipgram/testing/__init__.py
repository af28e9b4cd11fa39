"""For tests of SIP elements, ours and yours: a network in memory, a clock by hand, phones.

Nothing here opens a socket, sleeps or reads a clock: what takes minutes on the wire takes
milliseconds, and the same seed gives the same run.
"""

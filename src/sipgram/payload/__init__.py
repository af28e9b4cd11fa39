"""Body formats, one file each: bytes <-> values, no I/O, no clock.

Enter at ``body.Body.parse`` for what a MESSAGE carries, whatever it is wrapped in.
"""

"""SIP over WebSocket (RFC 7118): ``server`` accepts, ``client`` connects, ``flow`` is what both get.

Needs the ``websockets`` library; nothing outside imports this folder before it is used.
"""

"""Registrar: which contacts stand for which AoR right now (RFC 3261 §10.3).

Enter at ``service.Registrar.handle``; ``location.Locations`` is what others look contacts up in.
"""

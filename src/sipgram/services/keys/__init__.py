"""API keys: made, kept as hashes, known within a second, and what they may do.

Entry point: ``service.KeyRing``.
"""

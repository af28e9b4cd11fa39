"""Webhooks: what happens to an account is told to a URL, signed, in order, until it is heard.

Signatures are those of Standard Webhooks. Entry point: ``service.Webhooks``.
"""

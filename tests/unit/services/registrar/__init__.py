"""Tests of the registrar (RFC 3261 §10.3)."""

"""Receipts that the server sends."""

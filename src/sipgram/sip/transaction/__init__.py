"""Transactions: one request and its responses, made safe against loss (RFC 3261 §17)."""

"""Tests of pager mode (RFC 3428)."""

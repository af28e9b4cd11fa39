"""Tests of the server that the parts make together."""

"""Tests of the lazy messages and the headers in them."""

"""Tests of where a request goes on to."""

"""Tests of the client, and the peer that it talks to."""

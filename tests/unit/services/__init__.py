"""Tests of the services, a folder a feature."""

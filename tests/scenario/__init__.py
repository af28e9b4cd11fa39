"""Whole elements on a network in memory."""

"""Commands about what belongs to accounts."""

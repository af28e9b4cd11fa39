"""State documents: presence, rules, watchers."""

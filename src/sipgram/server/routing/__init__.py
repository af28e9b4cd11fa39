"""Where requests go that are for others: next hops by name, trunks, other domains."""

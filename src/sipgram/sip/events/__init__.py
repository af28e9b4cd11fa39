"""Event notification as pure machines: headers, dialogs, subscriptions (RFC 6665)."""

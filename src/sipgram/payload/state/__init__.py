"""Documents of event state: presence, its rules and watchers, registrations, dialogs."""

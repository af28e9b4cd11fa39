"""Event notification: subscriptions and publications of every package (RFC 6665, RFC 3903).

``service.py`` takes SUBSCRIBE, ``publishing.py`` PUBLISH; what a package is, ``services/event_package.py`` says.
"""

"""Presence: who is there, composed of what phones publish, shown as rules allow (RFC 3856, 4479, 5025).

``service.py`` is the package ``presence``, ``watchers.py`` the package ``presence.winfo``.
"""

"""Messages that come by HTTP: accepted on disk, sent now or later, and followed to their end.

Entry point: ``service.Outbox``; the routes are in ``http.py``.
"""

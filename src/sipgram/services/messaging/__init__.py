"""Pager mode: a MESSAGE to every device of an account (RFC 3428, DELIVERY.md).

Enter at ``service.Messaging.handle``. What must wait is kept by ``deposits`` and delivered by ``drain``; ``mailroom`` holds all of it.
"""

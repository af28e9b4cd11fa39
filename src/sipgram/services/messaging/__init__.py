"""Pager mode: a MESSAGE to every device of an account (RFC 3428, DELIVERY.md).

Enter at ``service.Messaging.handle``. Nothing is stored yet: who is away is 480.
"""

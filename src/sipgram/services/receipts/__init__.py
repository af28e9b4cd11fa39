"""What senders and devices are told and shown about messages (RFC 5438, DELIVERY.md D15, D20, D21).

Enter at ``service.Receipts`` for what the server says, at ``plain_forms.PlainForms`` for devices
that take plain text alone.
"""

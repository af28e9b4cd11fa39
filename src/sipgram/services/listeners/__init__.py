"""API listeners, bots and the console of an account: one virtual device (DELIVERY.md D8).

It takes a message by committing it to its inbox, which ``GET /v1/events`` reads. Entry point:
``service.Listeners``.
"""

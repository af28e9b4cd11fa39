"""Who is who: digest authentication and the accounts (RFC 3261 §22, RFC 8760; D1 to D4).

Entry point: ``service.Authenticator``, on the hot path and without I/O; it asks
``table.AccountTable``, the bounded copy of what ``sql.AccountRows`` keeps.
"""

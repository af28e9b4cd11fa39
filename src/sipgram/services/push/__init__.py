"""Push: wakes phones that wait for mail, through their push services (RFC 8599, DELIVERY.md D25).

Enter at ``service.Pusher.wake``; each service is a ``provider.Provider``.
"""

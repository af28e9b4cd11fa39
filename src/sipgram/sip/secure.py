"""What a sips: URI asks of each hop (RFC 3261 §26.2.2, RFC 5630 §3.1)."""

from sipgram.sip.sink import Flow


def is_sips(uri: bytes) -> bool:
    """Say whether only TLS will do."""
    return uri[:5].lower() == b"sips:"


def is_secure(flow: Flow) -> bool:
    """Say whether a flow is one over TLS; our Via for it tells."""
    return flow.via_line[13:16] in (b"TLS", b"WSS")

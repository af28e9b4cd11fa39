"""The client library: one account in an asyncio program (RFC 3261 UAC and UAS, RFC 3428).

Entry point: ``client.Client``, which ``import sipgram`` offers as ``sipgram.Client``.
"""

"""Policy: the operator's own code, asked about each message; off the synchronous path.

Enter at ``service.Police.handle``, which stands before the messaging service when a policy is set.
"""

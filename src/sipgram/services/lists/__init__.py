"""One MESSAGE to many (RFC 5365): taken apart here, then each copy goes the way of any other.

Enter at ``service.Lists.handle``.
"""

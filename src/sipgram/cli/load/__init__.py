"""What ``sipgram bench`` is made of: a load generator in C, the servers, the figures.

``generator`` compiles and runs ``native/``, ``servers`` starts sipgram and Kamailio with
``kamailio/``, ``process`` reads /proc, ``metrics`` reads /metrics, ``report`` compares rounds.
"""

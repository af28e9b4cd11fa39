"""Sockets: the asyncio side of the protocol ring, and nothing else."""

"""The way to others, on real sockets: slower than the rest, for servers are started."""

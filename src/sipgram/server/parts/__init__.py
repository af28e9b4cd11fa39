"""Parts of the server that are wired in a module of their own; ``app.py`` calls them."""

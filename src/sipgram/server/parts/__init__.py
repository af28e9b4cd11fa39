"""The wiring of features, one a file; ``app.py`` calls them."""

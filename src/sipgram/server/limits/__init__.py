"""What nobody may have too much of: guesses, requests, connections."""

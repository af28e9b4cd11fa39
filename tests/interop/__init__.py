"""Real user agents against a real `sipgram serve` (make interop); each has its own driver here."""

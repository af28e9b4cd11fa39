"""Push services: the queue, each provider against an HTTP server of the test's own."""

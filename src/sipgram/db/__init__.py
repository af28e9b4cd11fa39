"""Durable state: tables, their migrations, an engine to read with and a writer to commit with."""

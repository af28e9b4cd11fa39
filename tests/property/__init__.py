"""Properties that hold on every input, shown on mutated ones."""

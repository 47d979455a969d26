"""The engine: which cell runs next, where it runs, and what it costs."""

"""Slow NumPy definitions, written from the papers and not from the library."""

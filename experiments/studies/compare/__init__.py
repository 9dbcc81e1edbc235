"""Comparison of objectives: tuned on some seeds, trained on others, evaluated with intervals."""

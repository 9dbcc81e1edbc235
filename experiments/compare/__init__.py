"""Objectives beside each other: tuned on some seeds, trained on others, judged with intervals."""

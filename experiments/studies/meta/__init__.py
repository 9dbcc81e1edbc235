"""The meta-learning experiments of docs/meta.md: `tune` and `two-colours`."""

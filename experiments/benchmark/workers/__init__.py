"""Scripts that a benchmark runs in processes of their own, often where jaxrl is not installed."""

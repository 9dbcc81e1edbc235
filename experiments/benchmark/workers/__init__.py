"""Scripts that a benchmark runs in separate processes, often in environments without jaxrl."""

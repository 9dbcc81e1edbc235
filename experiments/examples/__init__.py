"""Complete examples, each a script of one page: `python -m jaxrl.experiments.examples.custom_algorithm`."""

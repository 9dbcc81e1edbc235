"""Complete examples, each a script of one page: `python -m jaxrl.experiments.examples.own_algorithm`."""

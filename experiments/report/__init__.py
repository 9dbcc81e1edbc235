"""Reports: the records of runs and sweeps, honest statistics of them, and one page that shows both."""

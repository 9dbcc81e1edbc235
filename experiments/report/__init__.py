"""Reports: reads the records of runs and sweeps, computes statistics and writes one page with both."""

"""Benchmarking: detectors and baselines on the same scenes, with the same budget, in one table."""

"""Rules that score picks against a truth, each named; numpy alone."""

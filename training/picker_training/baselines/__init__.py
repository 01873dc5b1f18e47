"""Baselines: what template matching and blob detection find, scored by the same rules as our own detector."""

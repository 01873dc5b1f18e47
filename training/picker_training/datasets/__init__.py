"""Data sets: simulated scenes on disk, and folders of truth in the SHREC layout."""

"""The commands of `picker-training`, one module each; with `cli.py` the only place that prints."""

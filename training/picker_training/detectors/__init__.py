"""Detectors: networks, their target assignment and losses, and the decoding that is exported with them."""

"""picker's training: simulator, detectors, trainer and evaluation."""

"""The network of a configuration."""

from picker_training.config import TrainingConfig
from picker_training.detectors.base import Detector
from picker_training.detectors.registry import build


def build_network(config: TrainingConfig) -> Detector:
    """Return an untrained network as configured."""
    model = config.model
    return build(model.detector, len(model.classes), getattr(config, model.detector), seed=config.seed)

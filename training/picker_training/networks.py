"""The network of a configuration."""

from picker_runtime.errors import UsageError
from picker_training.config import TrainingConfig
from picker_training.detectors.base import Detector
from picker_training.detectors.registry import build


def build_network(config: TrainingConfig) -> Detector:
    """Return an untrained network as configured.

    Raises:
        UsageError: E83 if the detector's options do not fit together.
    """
    model = config.model
    try:
        return build(model.detector, len(model.classes), getattr(config, model.detector), seed=config.seed)
    except ValueError as error:
        raise UsageError(83, f"[{model.detector}]", str(error), "correct the configuration") from error

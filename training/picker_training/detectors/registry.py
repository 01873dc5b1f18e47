"""The detectors by name: built from options, or again from what a card says."""

from collections.abc import Mapping
from typing import Any

import torch

from picker_training.detectors.base import Detector
from picker_training.detectors.options import PaperOptions, PointOptions, UNetOptions
from picker_training.detectors.paper import PaperDetector
from picker_training.detectors.point import PointDetector
from picker_training.detectors.unet import UNetDetector

DETECTORS: dict[str, tuple[type[Detector], type]] = {
    PointDetector.name: (PointDetector, PointOptions),
    PaperDetector.name: (PaperDetector, PaperOptions),
    UNetDetector.name: (UNetDetector, UNetOptions),
}
"""Each detector's network and what can be chosen of it."""


def build(detector: str, classes: int, options: Any, *, seed: int) -> Detector:
    """Return an untrained network, its weights fixed by the seed."""
    torch.manual_seed(seed)
    network, _ = DETECTORS[detector]
    return network(classes, options)


def rebuild(facts: Mapping[str, Any], classes: int) -> Detector:
    """Return an untrained network of the shape that a card states.

    Raises:
        KeyError, TypeError, ValueError: if the facts are not those of a known network.
    """
    network, options = DETECTORS[facts["detector"]]
    chosen = {key: tuple(v) if isinstance(v, list) else v for key, v in facts.items() if key != "detector"}
    return network(classes, options(**chosen))

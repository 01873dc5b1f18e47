"""What the network `point` says of each output cell, before decoding."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from picker_training.detectors.options import PointOptions


@dataclass(frozen=True)
class Prediction:
    """Raw outputs per output cell, float32.

    objectness: `(n, d, h, w)` logits; the highest of the classes' if they stand for it.
    classes: `(n, classes, d, h, w)` logits.
    offset: `(n, 3, d, h, w)` zyx voxels from the cell's centre.
    deep: what a second head says at twice the stride; spheres: `(n, classes + 1, d, h, w)` logits of lying in a
    particle's sphere, background first. Both in training alone, and only if asked for.
    """

    objectness: Tensor
    classes: Tensor
    offset: Tensor
    deep: "Prediction | None" = None
    spheres: Tensor | None = None


def read_head(out: Tensor, options: PointOptions) -> Prediction:
    """Return what the channels of a head mean: objectness, if it has its own, classes, offset."""
    out = out.float()
    if options.objectness == "own":
        return Prediction(objectness=out[:, 0], classes=out[:, 1:-3], offset=out[:, -3:])
    return Prediction(objectness=out[:, :-3].amax(dim=1), classes=out[:, :-3], offset=out[:, -3:])


def class_probabilities(prediction: Prediction, options: PointOptions) -> Tensor:
    """Return the probability of each class `(n, classes, d, h, w)`: where objectness is own, given a particle."""
    if options.objectness == "own":
        return torch.softmax(prediction.classes, dim=1)
    return torch.sigmoid(prediction.classes)


def class_evidence(prediction: Prediction, options: PointOptions) -> Tensor:
    """Return the probabilities by which a cell's class is chosen: those of the cells around it, averaged."""
    probabilities = class_probabilities(prediction, options)
    if options.class_window == 1:
        return probabilities
    reach = options.class_window // 2
    return functional.avg_pool3d(probabilities, options.class_window, 1, reach, count_include_pad=False)

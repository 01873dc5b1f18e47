"""Loss of the point detector: focal objectness, cross-entropy of the class, smooth L1 of the offset."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from picker_training.detectors.assignment import Targets
from picker_training.detectors.point import Prediction

FOCAL_POWER = 2.0
NEIGHBOUR_POWER = 4.0
"""Exponents of the penalty-reduced focal loss for centre points (Law and Deng, CornerNet, 2018, eq. 1)."""

CLASS_WEIGHT = 2.0
OFFSET_WEIGHT = 0.5


@dataclass(frozen=True)
class Loss:
    """The parts of the loss, each a scalar tensor, and their weighted sum."""

    objectness: Tensor
    classes: Tensor
    offset: Tensor

    @property
    def total(self) -> Tensor:
        """What the optimiser minimises."""
        return self.objectness + CLASS_WEIGHT * self.classes + OFFSET_WEIGHT * self.offset


def point_loss(prediction: Prediction, targets: Targets) -> Loss:
    """Return the loss of a batch; objectness per particle, class and offset per weighted cell near one."""
    own = (targets.objectness == 1.0).float() * targets.counts
    particles = own.sum().clamp(min=1.0)
    positive = functional.logsigmoid(prediction.objectness)
    negative = functional.logsigmoid(-prediction.objectness)
    probability = torch.sigmoid(prediction.objectness)
    hit = own * (1.0 - probability) ** FOCAL_POWER * positive
    miss = (1.0 - targets.objectness) ** NEIGHBOUR_POWER * probability**FOCAL_POWER * negative
    objectness = -(hit + (1.0 - own) * targets.counts * miss).sum() / particles

    near = targets.near * targets.counts
    total = near.sum().clamp(min=1.0)
    classes = functional.cross_entropy(prediction.classes, targets.class_ids, reduction="none")
    offset = functional.smooth_l1_loss(prediction.offset, targets.offset, reduction="none").sum(dim=1)
    return Loss(objectness, (classes * near).sum() / total, (offset * near).sum() / total)

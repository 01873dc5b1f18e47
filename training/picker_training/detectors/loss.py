"""Loss of the point detector: objectness, cross-entropy of the class, smooth L1 of the offset."""

import torch
from torch import Tensor
from torch.nn import functional

from picker_training.detectors.assignment import Targets
from picker_training.detectors.base import Loss
from picker_training.detectors.options import PointOptions
from picker_training.detectors.prediction import Prediction

FOCAL_POWER = 2.0
NEIGHBOUR_POWER = 4.0
"""Exponents of the penalty-reduced focal loss for centre points (Law and Deng, CornerNet, 2018, eq. 1)."""

VARIFOCAL_SHARE = 0.75
"""Weight of cells without a particle in the varifocal loss (Zhang et al., VarifocalNet, 2021, eq. 2)."""

OFFSET_WEIGHT = 0.5


def point_loss(prediction: Prediction, targets: Targets, options: PointOptions) -> Loss:
    """Return the loss of a head; objectness per particle, class and offset per weighted cell near one."""
    near = targets.near * targets.counts
    learnt = near > 0
    weight = near[learnt]
    total = weight.sum().clamp(min=1.0)
    wanted, said = (offset.movedim(1, -1)[learnt] for offset in (targets.offset, prediction.offset))
    offset = functional.smooth_l1_loss(said, wanted, reduction="none").sum(dim=1)
    parts = {"objectness": _objectness(prediction, targets, options)}
    if options.objectness == "own":
        classes = functional.cross_entropy(
            prediction.classes.movedim(1, -1)[learnt], targets.class_ids[learnt],
            reduction="none", label_smoothing=options.label_smoothing,
        )  # fmt: skip
        parts["classes"] = (classes * weight).sum() / total
    parts["offset"] = (offset * weight).sum() / total
    weights = {"classes": options.class_weight, "offset": OFFSET_WEIGHT}
    return Loss(parts, sum((weights.get(name, 1.0) * value for name, value in parts.items()), torch.zeros(())))


def _objectness(prediction: Prediction, targets: Targets, options: PointOptions) -> Tensor:
    loss = focal if options.objectness_loss == "focal" else varifocal
    if options.objectness == "own":
        return loss(prediction.objectness, targets.objectness, targets.near, targets.counts)
    member = functional.one_hot(targets.class_ids, prediction.classes.shape[1]).movedim(-1, 1).float()
    wanted, near = (part.unsqueeze(1) * member for part in (targets.objectness, targets.near))
    return loss(prediction.classes, wanted, near, targets.counts.unsqueeze(1).expand_as(wanted))


def focal(logits: Tensor, wanted: Tensor, near: Tensor, counts: Tensor) -> Tensor:
    """Return the penalty-reduced focal loss per particle: a hit where exactly 1 is wanted, elsewhere a miss."""
    own = (wanted == 1.0).float() * counts
    probability = torch.sigmoid(logits)
    hit = own * (1.0 - probability) ** FOCAL_POWER * functional.logsigmoid(logits)
    miss = (1.0 - wanted) ** NEIGHBOUR_POWER * probability**FOCAL_POWER * functional.logsigmoid(-logits)
    return -(hit + (1.0 - own) * counts * miss).sum() / own.sum().clamp(min=1.0)


def varifocal(logits: Tensor, wanted: Tensor, near: Tensor, counts: Tensor) -> Tensor:
    """Return the varifocal loss per wanted unit: cells near a particle learn how well they stand for it."""
    probability = torch.sigmoid(logits)
    quality = torch.where(near > 0, wanted, torch.zeros_like(wanted))
    hit = quality * functional.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    miss = VARIFOCAL_SHARE * probability**FOCAL_POWER * -functional.logsigmoid(-logits)
    cost = torch.where(quality > 0, hit, miss) * counts
    return cost.sum() / (quality * counts).sum().clamp(min=1.0)

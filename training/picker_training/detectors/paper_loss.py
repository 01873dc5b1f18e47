"""Loss of `paper`: four sums over a batch, weighed as published and divided by the number of its cubes."""

import torch
from torch import Tensor
from torch.nn import functional

from picker_training.detectors.base import Loss
from picker_training.detectors.paper_assignment import BoxTargets
from picker_training.detectors.paper_boxes import RawPrediction

OBJECT_WEIGHT = 1.0
BACKGROUND_WEIGHT = 0.1
BOX_WEIGHT = 5.0
CLASS_WEIGHT = 5.0


def paper_loss(raw: RawPrediction, targets: BoxTargets, *, smooth: bool) -> Loss:
    """Return the loss of a batch.

    smooth: use the smooth L1 of place and size, as the public code does, not the paper's squared error.
    """
    cubes = raw.size.shape[0]
    own = targets.positive
    said = torch.cat([_cellwise(raw.offset).sigmoid(), _cellwise(raw.size.unsqueeze(2))], dim=1)[own]
    wanted = torch.cat([targets.offset, targets.size.unsqueeze(1)], dim=1)
    distance = functional.smooth_l1_loss if smooth else functional.mse_loss
    logits = raw.objectness.reshape(-1)
    parts = {
        "object": functional.softplus(-logits[own]).sum() / cubes,
        "background": (functional.softplus(raw.objectness) * targets.background).sum() / cubes,
        "box": distance(said, wanted, reduction="sum") / cubes,
        "classes": _class_loss(_cellwise(raw.classes)[own], targets.class_ids) / cubes,
    }
    total = (
        OBJECT_WEIGHT * parts["object"] + BACKGROUND_WEIGHT * parts["background"]
        + BOX_WEIGHT * parts["box"] + CLASS_WEIGHT * parts["classes"]
    )  # fmt: skip
    return Loss(parts, total)


def _class_loss(logits: Tensor, class_ids: Tensor) -> Tensor:
    """Return the binary cross-entropy of the softmax, summed over particles and classes."""
    wanted = functional.one_hot(class_ids, logits.shape[1]).to(logits.dtype)
    probability = torch.softmax(logits, dim=1).clamp(max=1.0 - 1e-6)
    return -(wanted * torch.log_softmax(logits, dim=1) + (1.0 - wanted) * torch.log1p(-probability)).sum()


def _cellwise(values: Tensor) -> Tensor:
    """Bring `(n, a, k, d, h, w)` to `(n * a * d * h * w, k)`."""
    return values.movedim(2, -1).reshape(-1, values.shape[2])

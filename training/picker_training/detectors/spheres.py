"""Spheres: which class's sphere each output cell lies in, learnt beside the centres."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from picker_training.detectors.base import cell_centres


def sphere_targets(
    positions: Sequence[Tensor],
    class_ids: Sequence[Tensor],
    diameters_voxels: Tensor,
    like: Tensor,
    stride: int,
) -> Tensor:
    """Return 1 + the class of the sphere that each cell's centre lies in, 0 outside all: `like`'s shape, int64.

    Where spheres overlap, the particle counts whose centre is nearest in parts of its radius.
    """
    _, d, h, w = like.shape
    cells = cell_centres((d, h, w), stride, like.device).reshape(-1, 3)
    radii = diameters_voxels.to(like.device) / 2.0
    made = []
    for places, classes in zip(positions, class_ids, strict=True):
        inside = torch.zeros(len(cells), dtype=torch.int64, device=like.device)
        if len(places):
            classes = classes.to(like.device)
            depth, nearest = (torch.cdist(cells, places.to(like.device)) / radii[classes]).min(dim=1)
            inside = torch.where(depth < 1.0, 1 + classes[nearest], inside)
        made.append(inside.reshape(d, h, w))
    return torch.stack(made)


def sphere_loss(logits: Tensor, inside: Tensor, counts: Tensor) -> Tensor:
    """Return the cross-entropy, half of it the mean within spheres and half the mean outside, where cells count."""
    entropy = functional.cross_entropy(logits, inside, reduction="none") * counts
    within = (inside > 0).float() * counts
    without = counts - within
    halves = [(entropy * part).sum() / part.sum().clamp(min=1.0) for part in (within, without)]
    return 0.5 * (halves[0] + halves[1])

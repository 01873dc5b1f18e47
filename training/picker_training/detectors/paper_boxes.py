"""Boxes of `paper`: cubes around particles, decoded from raw predictions, and how far they overlap."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from picker_training.detectors.base import cell_centres

OVERLAP = 0.1
"""Two boxes that overlap by more than this are one particle (the public code; the paper does not state it)."""

ROUNDS = 4
"""Of suppression: chains of up to so many boxes, each of which overlaps the next better one, end as greedily."""

LARGEST_LOGARITHM = 4.0
"""Sizes are at most so many e-folds from their anchor, so that an untrained network has finite boxes."""


@dataclass(frozen=True)
class RawPrediction:
    """Raw outputs per anchor and output cell, float32.

    offset: `(n, a, 3, d, h, w)` zyx, the sigmoid of which is the place in the cell. size: `(n, a, d, h, w)`
    logarithm of the size over the anchor's. objectness: `(n, a, d, h, w)` logits. classes: `(n, a, c, d, h, w)` logits.
    """

    offset: Tensor
    size: Tensor
    objectness: Tensor
    classes: Tensor

    @classmethod
    def of(cls, head: Tensor) -> "RawPrediction":
        """Split a head's output `(n, a, 5 + c, d, h, w)`."""
        return cls(offset=head[:, :, :3], size=head[:, :, 3], objectness=head[:, :, 4], classes=head[:, :, 5:])


def decode_boxes(raw: RawPrediction, anchors: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Return centres `(n, a, 3, d, h, w)` zyx and edges `(n, a, d, h, w)`, both in voxels of the cube.

    A cell begins half a voxel before its first voxel's centre.
    """
    _, _, _, d, h, w = raw.offset.shape
    corners = cell_centres((d, h, w), stride, raw.offset.device).permute(3, 0, 1, 2) - stride / 2
    edges = torch.exp(raw.size.clamp(-LARGEST_LOGARITHM, LARGEST_LOGARITHM)) * anchors.reshape(1, -1, 1, 1, 1)
    return torch.sigmoid(raw.offset) * stride + corners, edges


def overlap(centres: Tensor, edges: Tensor, other_centres: Tensor, other_edges: Tensor) -> Tensor:
    """Return the intersection over union of cubes: centres `(..., 3)`, edges `(...)`, broadcast against each other."""
    half, other_half = edges.unsqueeze(-1) / 2, other_edges.unsqueeze(-1) / 2
    high = torch.minimum(centres + half, other_centres + other_half)
    low = torch.maximum(centres - half, other_centres - other_half)
    common = (high - low).clamp(min=0.0).prod(dim=-1)
    return common / (edges**3 + other_edges**3 - common)


def keep_peaks(scores: Tensor, centres: Tensor, edges: Tensor) -> Tensor:
    """Return the scores `(n, d, h, w)`, 0 where the box of a better neighbour in 3x3x3 that is kept overlaps the own.

    centres: `(n, 3, d, h, w)`. edges: `(n, d, h, w)`. This is greedy non-maximum suppression among neighbours, the part
    of it that a graph of fixed shape can do: a box that falls to a better one makes none fall itself. Each round takes
    what the last one left for what stands; they close in on the greedy result, an even number of them from above.
    """
    own = torch.cat([scores.unsqueeze(1), edges.unsqueeze(1), centres], dim=1)
    other = _around(own).movedim(2, -1)  # (27, n, d, h, w, 5)
    near = overlap(centres.movedim(1, -1), edges, other[..., 2:], other[..., 1]) > OVERLAP
    rivals = torch.where(near, other[..., 0], torch.zeros_like(scores))
    kept = torch.ones_like(scores)
    for _ in range(ROUNDS):
        outdone = (rivals * _around(kept.unsqueeze(1))[:, :, 0]).amax(dim=0)
        kept = (scores >= outdone).to(scores.dtype)
    return scores * kept


def _around(volume: Tensor) -> Tensor:
    """Return what lies in the 27 cells around each one, `(27, n, c, d, h, w)` of `(n, c, d, h, w)`, 0 outside."""
    around = functional.pad(volume, (1, 1) * 3)
    for axis in (-3, -2, -1):  # the cell before, the cell itself and the cell after, of all that was gathered so far
        last = around.shape[axis] - 2
        around = torch.stack([around.narrow(axis, start, last) for start in range(3)])
    return around.flatten(0, 2)

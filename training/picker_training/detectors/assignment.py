"""Assignment: what each output cell should predict, given the particles' centres and classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from picker_training.detectors.base import cell_centres, cells_with

PEAK_SIGMA_CELLS = 1.0
"""Width of the objectness peak around a centre."""

REACH_CELLS = 1.8
"""Cells this near to a particle's own cell learn its class and offset (the 3x3x3 cells around it)."""


@dataclass(frozen=True)
class Targets:
    """Targets of a batch, one value per output cell.

    objectness: `(n, d, h, w)` in 0..1, exactly 1 in each particle's own cell.
    class_ids: `(n, d, h, w) int64`, of the nearest particle.
    offset: `(n, 3, d, h, w)` zyx voxels from the cell's centre to the nearest particle.
    near: `(n, d, h, w)` weight of class and offset, 0 away from particles.
    counts: `(n, d, h, w)` 1 where the loss counts, 0 in the halo and where nothing is to be learnt.
    """

    objectness: Tensor
    class_ids: Tensor
    offset: Tensor
    near: Tensor
    counts: Tensor


def assign(
    positions: list[Tensor],
    class_ids: list[Tensor],
    cube: tuple[int, int, int],
    *,
    halo: int,
    stride: int,
    ignored: Sequence[Tensor] = (),
    unknown: Tensor | None = None,
    own_cell: bool = False,
    device: torch.device,
) -> Targets:
    """Make the targets of a batch of cubes of edges `cube`.

    Per cube: positions `(p, 3)` zyx voxels, class_ids `(p,)`, ignored balls `(m, 4)` zyx and radius in voxels.
    unknown: `(n, *cube) bool`, voxels in which nothing is learnt. own_cell: learn a particle in its own cell alone.
    """
    d, h, w = (n // stride for n in cube)
    centres = cell_centres((d, h, w), stride, device)
    parts = [
        _assign_one(p.to(device), c.to(device), centres, stride) for p, c in zip(positions, class_ids, strict=True)
    ]
    objectness, classes, offset, near = (torch.stack(t) for t in zip(*parts, strict=True))
    if own_cell:
        objectness = near = (objectness == 1.0).float()
    counts = torch.zeros_like(objectness)
    ring = halo // stride
    counts[:, ring : d - ring, ring : h - ring, ring : w - ring] = 1.0
    for count, balls in zip(counts, ignored, strict=False):
        for ball in balls.to(device):
            count[(centres - ball[:3]).norm(dim=-1) < ball[3]] = 0.0
    if unknown is not None:
        counts = counts * ~cells_with(unknown.to(device), stride)
    return Targets(objectness=objectness, class_ids=classes, offset=offset, near=near, counts=counts)


def _assign_one(
    positions: Tensor, class_ids: Tensor, centres: Tensor, stride: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    grid = centres.shape[:3]
    if len(positions) == 0:
        zero = torch.zeros(grid, device=centres.device)
        return zero, zero.long(), zero.expand(3, *grid), zero
    cells = centres.reshape(-1, 3)
    own_cell = torch.floor(positions / stride + 0.5 / stride) * stride + (stride - 1) / 2
    distance, _ = (torch.cdist(cells, own_cell) / stride).min(dim=1)
    _, nearest = torch.cdist(cells, positions).min(dim=1)
    objectness = torch.exp(-(distance**2) / (2.0 * PEAK_SIGMA_CELLS**2))
    objectness = torch.where(distance < 1e-3, torch.ones_like(objectness), objectness)
    near = torch.where(distance <= REACH_CELLS, objectness, torch.zeros_like(objectness))
    offset = positions[nearest] - cells
    return (
        objectness.reshape(grid),
        class_ids[nearest].reshape(grid),
        offset.T.reshape(3, *grid),
        near.reshape(grid),
    )

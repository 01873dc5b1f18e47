"""Assignment: what each output cell should predict, given the particles' centres and classes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from picker_training.detectors.base import cell_centres, cells_with

PEAK_SIGMA_CELLS = 1.0
"""Width of the objectness peak around a centre."""

FLANK_CELLS = 5
"""Further along an axis than so many cells the peak is below 4e-6, and taken for 0."""

REACH_CELLS = 1.8
"""Cells this near to a particle's own cell learn its class and offset (the 3x3x3 cells around it)."""


@dataclass(frozen=True)
class Targets:
    """Targets of a batch, one value per output cell.

    objectness: `(n, d, h, w)` in 0..1, exactly 1 in each particle's own cell.
    class_ids: `(n, d, h, w) int64`, of the nearest particle; 0 away from particles.
    offset: `(n, 3, d, h, w)` zyx voxels from the cell's centre to the nearest particle; 0 away from particles.
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
    shape = (cube[0] // stride, cube[1] // stride, cube[2] // stride)
    d, h, w = shape
    parts = [_assign_one(p.to(device), c.to(device), shape, stride) for p, c in zip(positions, class_ids, strict=True)]
    objectness, classes, offset, near = (torch.stack(t) for t in zip(*parts, strict=True))
    if own_cell:
        objectness = near = (objectness == 1.0).float()
    counts = torch.zeros_like(objectness)
    ring = halo // stride
    counts[:, ring : d - ring, ring : h - ring, ring : w - ring] = 1.0
    centres = cell_centres(shape, stride, device)
    for count, balls in zip(counts, ignored, strict=False):
        for ball in balls.to(device):
            count[(centres - ball[:3]).norm(dim=-1) < ball[3]] = 0.0
    if unknown is not None:
        counts = counts * ~cells_with(unknown.to(device), stride)
    return Targets(objectness=objectness, class_ids=classes, offset=offset, near=near, counts=counts)


def _assign_one(
    positions: Tensor, class_ids: Tensor, shape: tuple[int, int, int], stride: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return objectness, class, offset and nearness of the cells of one cube; only those around particles are visited.

    Each pair of a particle and a cell around it is one row of `particle`, `place`, `offset`.
    """
    device, size = positions.device, math.prod(shape)
    step = torch.arange(-FLANK_CELLS, FLANK_CELLS + 1, device=device)
    around = torch.cartesian_prod(step, step, step)
    cells = torch.floor(positions / stride + 0.5 / stride).long()[:, None] + around
    particle, which = ((cells >= 0) & (cells < torch.tensor(shape, device=device))).all(dim=-1).nonzero(as_tuple=True)
    cell = cells[particle, which]
    place = (cell[:, 0] * shape[1] + cell[:, 1]) * shape[2] + cell[:, 2]
    from_own_cell = _least(around.square().sum(dim=1).float()[which], place, size)
    objectness = torch.exp(-from_own_cell / (2.0 * PEAK_SIGMA_CELLS**2))
    near = torch.where(from_own_cell <= REACH_CELLS**2, objectness, torch.zeros_like(objectness))

    offset = positions[particle] - (cell * stride + (stride - 1) / 2)
    distance = offset.square().sum(dim=1)
    nearest = distance == _least(distance, place, size)[place]
    first = torch.full((size,), len(positions), device=device)
    first = first.scatter_reduce(0, place[nearest], particle[nearest], "amin")  # of particles equally near
    chosen = nearest & (particle == first[place])
    classes = class_ids.new_zeros(size)
    classes[place[chosen]] = class_ids[particle[chosen]]
    offsets = positions.new_zeros(size, 3)
    offsets[place[chosen]] = offset[chosen]
    return objectness.reshape(shape), classes.reshape(shape), offsets.T.reshape(3, *shape), near.reshape(shape)


def _least(values: Tensor, place: Tensor, size: int) -> Tensor:
    """Return the least of the values at each of `size` places; infinity where there is none."""
    return values.new_full((size,), math.inf).scatter_reduce(0, place, values, "amin")

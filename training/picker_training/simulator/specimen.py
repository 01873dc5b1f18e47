"""Specimen: particles, gold and vesicles placed in a slab of ice without overlap, with their truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from picker_runtime.geometry import Triple
from picker_training.simulator.contaminants import STRANGER
from picker_training.simulator.templates import GRID_ANGSTROM, Template

DRAW_BATCH = 128
PLACEMENT_TRIES = 200
FRINGE_ANGSTROM = 8.0
"""Density reaches a little beyond the mask."""


@dataclass(frozen=True, kw_only=True)
class Placements:
    """Truth: row i of each array belongs to one particle.

    class_ids: `(n,) int32`, index into the templates.
    positions: `(n, 3) float64, zyx, voxels`, centres of mass.
    rotations: `(n, 3, 3) float64, zyx`, from the template's axes to the tomogram's.
    """

    class_ids: NDArray[np.int32]
    positions: NDArray[np.float64]
    rotations: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.class_ids)


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """Density of a slab, `(d, h, w) float32, zyx, Da / A^3`, on the CPU, and what is in it.

    occupancy: `(d, h, w) int32`, particle number (1-based) of each voxel, 0 for ice, negative for contaminants.
    """

    density: Tensor
    occupancy: NDArray[np.int32]
    placements: Placements


def random_rotations(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return `(n, 3, 3)` rotation matrices, uniform over all orientations (normalised Gaussian quaternions)."""
    w, x, y, z = (q := rng.normal(size=(count, 4))).T / np.linalg.norm(q, axis=1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def draw_particles(
    template: Template, rotations: NDArray[np.float64], offsets: NDArray[np.float64], voxel_size: float
) -> tuple[Tensor, Tensor]:
    """Draw a template in several orientations, its centre `offsets (n, 3) zyx` voxels off the centre voxel.

    Returns density and mask, each `(n, b, b, b) float32` with odd b.
    """
    half = int(np.ceil((template.radius_angstrom + FRINGE_ANGSTROM) / voxel_size)) + 1
    axis = torch.arange(-half, half + 1, dtype=torch.float32)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)  # (b, b, b, 3) zyx
    maps = torch.stack([torch.from_numpy(template.density), torch.from_numpy(template.mask)])
    scale = voxel_size / GRID_ANGSTROM / (template.density.shape[0] // 2)
    drawn = []
    for start in range(0, len(rotations), DRAW_BATCH):
        inverse = torch.from_numpy(rotations[start : start + DRAW_BATCH]).float()  # row vectors: r @ R is R^-1 r
        offset = torch.from_numpy(offsets[start : start + DRAW_BATCH]).float()
        points = (grid.reshape(1, -1, 3) - offset[:, None]) @ inverse * scale
        sampling = points.flip(-1).reshape(len(offset), *grid.shape)
        drawn.append(functional.grid_sample(maps.expand(len(offset), -1, -1, -1, -1), sampling, align_corners=True))
    both = torch.cat(drawn) if drawn else torch.zeros((0, 2, 1, 1, 1))
    return both[:, 0], both[:, 1]


class SlabBuilder:
    """Fills a slab, largest things first; x and y wrap around when `periodic`, z never does."""

    def __init__(self, shape: Triple, voxel_size: float, rng: np.random.Generator, *, periodic: bool) -> None:
        self.shape = shape
        self.voxel_size = voxel_size
        self.density = np.zeros(shape, np.float32)
        self.occupancy = np.zeros(shape, np.int32)
        self._rng = rng
        self._periodic = periodic

    def add_particles(self, templates: Sequence[Template], counts: Sequence[int], *, label: bool = True) -> Placements:
        """Place `counts[i]` copies of template i (fewer if there is no room), numbered in the occupancy if `label`."""
        order = sorted(range(len(templates)), key=lambda i: -templates[i].radius_angstrom)
        found: list[tuple[int, NDArray[np.float64], NDArray[np.float64]]] = []
        for class_id in order:
            rotations = random_rotations(counts[class_id], self._rng)
            offsets = self._rng.uniform(-0.5, 0.5, (counts[class_id], 3))
            density, mask = draw_particles(templates[class_id], rotations, offsets, self.voxel_size)
            for i in range(counts[class_id]):
                centre = self.add(density[i].numpy(), mask[i].numpy() > 0.5, len(found) + 1 if label else STRANGER)
                if centre is not None:
                    found.append((class_id, centre + offsets[i], rotations[i]))
        return Placements(
            class_ids=np.array([f[0] for f in found], np.int32),
            positions=np.array([f[1] for f in found], np.float64).reshape(-1, 3),
            rotations=np.array([f[2] for f in found], np.float64).reshape(-1, 3, 3),
        )

    def add(self, density: NDArray[np.float32], mask: NDArray[np.bool_], number: int) -> NDArray[np.int64] | None:
        """Put one thing at a random free place; return its centre voxel, or None if no free place was found."""
        half = np.array(mask.shape) // 2
        margin = half if not self._periodic else half * (1, 0, 0)
        room = np.array(self.shape) - 2 * margin
        if np.any(room <= 0):
            return None
        for _ in range(PLACEMENT_TRIES):
            centre: NDArray[np.int64] = margin + (self._rng.random(3) * room).astype(np.int64)
            index = np.ix_(
                *((np.arange(c - h, c + h + 1)) % n for c, h, n in zip(centre, half, self.shape, strict=True))
            )
            if not np.any(self.occupancy[index][mask]):
                self.density[index] += density
                self.occupancy[index] = np.where(mask, number, self.occupancy[index])
                return centre
        return None

    def finish(self, placements: Placements) -> Specimen:
        """Return the specimen."""
        return Specimen(density=torch.from_numpy(self.density), occupancy=self.occupancy, placements=placements)

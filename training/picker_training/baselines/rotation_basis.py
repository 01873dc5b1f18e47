"""Rotation basis: thousands of orientations of one template as weights on a few volumes.

Correlation is linear, and the images of one particle in all orientations span few dimensions, because the contrast
transfer leaves little detail. So a tomogram is correlated with the volumes of a basis, and the correlation with each of
the thousands of orientations is a weighted sum of these. Each volume is even or odd under the half turns of the
microscope, so the sums of an orientation serve those that are half-turned against it (`half_turns`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from picker_training.baselines.half_turns import half_turns, parities, turned, walsh_hadamard
from picker_training.baselines.optics import convolve, point_spread
from picker_training.simulator.microscope import Microscope
from picker_training.simulator.specimen import FRINGE_ANGSTROM, draw_particles
from picker_training.simulator.templates import Template

ENERGY = 0.999
"""Share of the orientations' variance that a basis keeps."""

DRAW_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class RotationBasis:
    """One template in many orientations, as seen by a microscope, under a spherical mask.

    volumes: `(k, b, b, b) float32`, orthonormal, 0 outside the mask and of mean 0 inside, odd b.
    weights: `(n, k) float32`, rows of length 1: orientation i is `weights[i] @ volumes`, of mean 0 and length 1.
    sizes: `g` numbers of volumes, those of each parity under the half turns, which stand one after the other.
    rotations: `(g n, 3, 3) float64, zyx`, of the n orientations followed by each half turn.
    mask: `(b, b, b) float32`, 1 inside the sphere. energy: share of the orientations' variance that the volumes hold.
    """

    name: str
    diameter_angstrom: float
    volumes: Tensor
    weights: Tensor
    sizes: tuple[int, ...]
    rotations: NDArray[np.float64]
    mask: Tensor
    energy: float

    @property
    def half(self) -> int:
        """Voxels from the centre of a volume to its side."""
        return self.mask.shape[0] // 2

    @property
    def all_weights(self) -> Tensor:
        """Weights of all rotations, `(g n, k) float32`."""
        signs = walsh_hadamard(torch.eye(len(self.sizes))).repeat_interleave(torch.tensor(self.sizes), dim=1)
        return (signs[:, None] * self.weights).flatten(0, 1)


def make_basis(
    template: Template,
    rotations: NDArray[np.float64],
    microscope: Microscope,
    voxel_size: float,
    *,
    energy: float = ENERGY,
) -> RotationBasis:
    """Draw a template in every orientation, as the microscope shows it, and keep the main directions of all these.

    rotations: `(n, 3, 3) float64, zyx`; the basis has these and all that the microscope's half turns make of them.
    energy: share of the variance to keep; 1 keeps all.
    The mask is a sphere, the same for all orientations, so one local mean and deviation serves them all.
    """
    images, mask = draw_orientations(template, rotations, microscope, voxel_size)
    turns = half_turns(microscope)
    directions, weights, kept = main_directions(parities(images, mask, turns).unbind(), energy)
    volumes = torch.cat(directions)
    inside = torch.zeros(len(volumes), mask.numel())
    inside[:, mask.reshape(-1) > 0] = volumes
    return RotationBasis(
        name=template.name,
        diameter_angstrom=template.diameter_angstrom,
        volumes=inside.reshape(-1, *mask.shape),
        weights=weights,
        sizes=tuple(len(some) for some in directions),
        rotations=turned(rotations, turns),
        mask=mask,
        energy=kept,
    )


def draw_orientations(
    template: Template, rotations: NDArray[np.float64], microscope: Microscope, voxel_size: float
) -> tuple[Tensor, Tensor]:
    """Return the image of every orientation inside a sphere, `(n, m) float32`, mean 0, length 1, and the sphere's mask.

    The sphere holds the whole particle and the fringe that its density has beyond its mask.
    """
    size = draw_particles(template, rotations[:1], np.zeros((1, 3)), voxel_size)[0].shape[-1]
    mask = sphere(size, (template.radius_angstrom + FRINGE_ANGSTROM) / voxel_size)
    spread = point_spread(microscope, voxel_size, size - 1)
    chosen = mask.reshape(-1) > 0
    images = torch.empty(len(rotations), int(chosen.sum()))
    for start in range(0, len(rotations), DRAW_BATCH):
        part = rotations[start : start + DRAW_BATCH]
        density, _ = draw_particles(template, part, np.zeros((len(part), 3)), voxel_size)
        images[start : start + len(part)] = convolve(density, spread).reshape(len(part), -1)[:, chosen]
    images -= images.mean(dim=1, keepdim=True)
    images /= torch.linalg.vector_norm(images, dim=1, keepdim=True)
    return images, mask


def main_directions(parts: Sequence[Tensor], energy: float) -> tuple[list[Tensor], Tensor, float]:
    """Return the directions that hold a share of the energy of images in parts, the images' weights, and that share.

    parts: each `(n, m)`, orthogonal to the others: row i of all together make image i.
    Directions are orthonormal rows `(k_p, m)`, for each part; weights are `(n, sum of k_p)`. From the eigenvectors of
    the smaller of the two Gram matrices of each part. Each row of the weights is brought to length 1, so that what is
    left of an orientation is again an image of length 1.
    """
    solved = [_eigen(part) for part in parts]
    values = torch.cat([values for values, _ in solved]).sort(descending=True).values
    shares = torch.cumsum(values, 0) / values.sum()
    independent = int((values > 1e-6 * values[0]).sum())  # float32 images know no smaller ones
    rank = min(int((shares < energy).sum()) + 1, independent)
    directions = []
    for part, (own, vectors) in zip(parts, solved, strict=True):
        size = int((own >= values[rank - 1]).sum())
        leading = vectors[:, :size].float()
        wide = len(part) <= part.shape[1]
        directions.append((leading.T @ part) / own[:size, None].sqrt().float() if wide else leading.T)
    weights = torch.cat([part @ rows.T for part, rows in zip(parts, directions, strict=True)], dim=1)
    return directions, weights / torch.linalg.vector_norm(weights, dim=1, keepdim=True), float(shares[rank - 1])


def _eigen(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues, falling, and eigenvectors (columns) of the smaller Gram matrix of rows `(n, m)`."""
    short = images if len(images) <= images.shape[1] else images.T
    values, vectors = torch.linalg.eigh((short @ short.T).double())
    return values.flip(0).clamp(min=0.0), vectors.flip(1)


def sphere(edge: int, radius: float) -> Tensor:
    """Return a ball of a radius in voxels, `(edge, edge, edge) float32`, 1 inside."""
    axis = torch.arange(edge, dtype=torch.float32) - edge // 2
    squared = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2
    return (squared <= radius**2).float()

"""Contaminants: gold beads and vesicles, as densities that a slab can hold."""

import numpy as np
from numpy.typing import NDArray

VESICLE, GOLD, STRANGER = -1, -2, -3
"""What stands for each kind in a slab's occupancy; particles have numbers above 0."""

GOLD_DENSITY = 9.0
"""Gold scatters about ten times as strongly per volume as protein does over ice (25 to 30 V against 2.5 to 3 V)."""

LEAFLET_DENSITY = 0.9
LEAFLET_DISTANCE_ANGSTROM = 38.0
LEAFLET_SIGMA_ANGSTROM = 6.0


def _radii(half: tuple[int, int, int], stretch: NDArray[np.float64]) -> NDArray[np.float64]:
    z, y, x = (np.arange(-h, h + 1) / s for h, s in zip(half, stretch, strict=True))
    radii: NDArray[np.float64] = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    return radii


def gold_bead(diameter_angstrom: float, voxel_size: float) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return density and mask of a gold bead, a solid sphere with a soft edge of one voxel."""
    radius = diameter_angstrom / 2.0 / voxel_size
    half = int(np.ceil(radius)) + 1
    distance = _radii((half, half, half), np.ones(3))
    density = GOLD_DENSITY * np.clip(radius - distance + 0.5, 0.0, 1.0)
    return density.astype(np.float32), distance <= radius + 0.5


def vesicle(
    diameter_angstrom: float, voxel_size: float, stretch: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return density and mask of a vesicle: two leaflets on an ellipsoid, `stretch (3,) zyx` near 1."""
    radius = diameter_angstrom / 2.0 / voxel_size
    reach = LEAFLET_DISTANCE_ANGSTROM / voxel_size
    z, y, x = (int(np.ceil((radius + reach) * s)) + 1 for s in stretch)
    distance = _radii((z, y, x), stretch)
    sigma = LEAFLET_SIGMA_ANGSTROM / voxel_size
    density = np.zeros_like(distance)
    for side in (-0.5, 0.5):
        depth = distance - radius - side * LEAFLET_DISTANCE_ANGSTROM / voxel_size
        density += LEAFLET_DENSITY * np.exp(-(depth**2) / (2.0 * max(sigma, 0.45) ** 2))
    return density.astype(np.float32), np.abs(distance - radius) <= reach

"""The truth of a tomogram: which particles are in it, and where."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The particles that are really in one tomogram; particle i (from 0) has the number i + 1 in an occupancy mask.

    names: class of each particle.
    positions: `(n, 3) float64, zyx, voxels of the tomogram`, the particles' centres.

    Raises:
        ValueError: if the lengths differ.
    """

    names: tuple[str, ...]
    positions: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.positions.shape != (len(self.names), 3):
            raise ValueError(f"{len(self.names)} names, but positions of shape {self.positions.shape}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def classes(self) -> tuple[str, ...]:
        """The distinct class names, sorted."""
        return tuple(sorted(set(self.names)))

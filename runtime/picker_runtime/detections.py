"""Detections: what a detector found, as parallel arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POSITION_DECIMALS = 3
SCORE_DECIMALS = 6
DIAMETER_DECIMALS = 2


@dataclass(frozen=True, kw_only=True)
class Detections:
    """Particles found in one tomogram; row i of each array belongs to the same particle.

    positions: `(n, 3) float64, zyx, voxels of the tomogram`, voxel centre at the integer.
    diameters: `(n,) float64, angstrom`.
    scores: `(n,) float64`, probability in 0..1.
    class_ids: `(n,) int32`, index into the model's classes.

    Raises:
        ValueError: if the lengths differ.
    """

    positions: NDArray[np.float64]
    diameters: NDArray[np.float64]
    scores: NDArray[np.float64]
    class_ids: NDArray[np.int32]

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.positions.shape != (n, 3) or self.diameters.shape != (n,) or self.class_ids.shape != (n,):
            raise ValueError(
                f"arrays of different lengths: positions {self.positions.shape}, diameters {self.diameters.shape}, "
                f"scores {self.scores.shape}, class_ids {self.class_ids.shape}"
            )

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def empty(cls) -> "Detections":
        """Return no detections."""
        return cls(
            positions=np.zeros((0, 3)), diameters=np.zeros(0), scores=np.zeros(0), class_ids=np.zeros(0, np.int32)
        )

    @classmethod
    def concatenate(cls, parts: Sequence["Detections"]) -> "Detections":
        """Join several lists in the order given."""
        if not parts:
            return cls.empty()
        return cls(
            positions=np.concatenate([p.positions for p in parts]),
            diameters=np.concatenate([p.diameters for p in parts]),
            scores=np.concatenate([p.scores for p in parts]),
            class_ids=np.concatenate([p.class_ids for p in parts]),
        )

    def select(self, index: NDArray[np.bool_] | NDArray[np.intp]) -> "Detections":
        """Return the rows that a mask or an index array names."""
        return Detections(
            positions=self.positions[index],
            diameters=self.diameters[index],
            scores=self.scores[index],
            class_ids=self.class_ids[index],
        )

    def rounded(self) -> "Detections":
        """Return the values as text files hold them: 3 decimals of a voxel, 6 of a score, 2 of an angstrom."""
        return Detections(
            positions=np.round(self.positions, POSITION_DECIMALS) + 0.0,  # + 0.0 turns -0.0 into 0.0
            diameters=np.round(self.diameters, DIAMETER_DECIMALS),
            scores=np.round(self.scores, SCORE_DECIMALS),
            class_ids=self.class_ids,
        )

    def by_score(self) -> "Detections":
        """Return the rows by descending score; ties by z, then y, then x."""
        z, y, x = self.positions.T
        return self.select(np.lexsort((x, y, z, -self.scores)))

"""Peaks: where a score map has maxima, and how far these stand out of the map's own spread."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from picker_runtime.detections import Detections
from picker_runtime.intensity import MAD_TO_SIGMA

FLOOR = 2.0
"""Deviations above the median below which no peak is kept; the median peak of pure noise lies at about this."""

HALF_SCORE = 10.0
"""Deviations above the median at which a peak's score is 0.5."""


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """Maxima of one class's score map, best first.

    positions: `(n, 3) int64, zyx, voxels`. heights: `(n,) float64`, deviations above the map's median, robust ones.
    values: `(n,) float64`, of the map. orientations: `(n,) int64`, of the best rotation; -1 where there is none.
    """

    positions: NDArray[np.int64]
    heights: NDArray[np.float64]
    values: NDArray[np.float64]
    orientations: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.heights)

    def detections(self, class_id: int, diameter_angstrom: float) -> Detections:
        """Return the peaks as detections of one class, their heights as scores in 0..1."""
        return Detections(
            positions=self.positions.astype(np.float64),
            diameters=np.full(len(self), diameter_angstrom),
            scores=score_of(self.heights),
            class_ids=np.full(len(self), class_id, np.int32),
        )


def score_of(heights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return h / (h + 10), 0 below the median: a score in 0..1 that ranks as the heights do."""
    above = np.maximum(heights, 0.0)
    scores: NDArray[np.float64] = above / (above + HALF_SCORE)
    return scores


def find_peaks(scores: Tensor, *, most: int, floor: float = FLOOR) -> Peaks:
    """Return the voxels that none of their 26 neighbours exceeds, the best `most` of those above the floor.

    scores: `(d, h, w) float32`. Ties in height stand in order of z, y, x.
    """
    highest = functional.max_pool3d(scores[None, None], 3, stride=1, padding=1)[0, 0]
    median, deviation = robust_spread(scores)
    index = torch.nonzero((scores == highest) & (scores > median + floor * deviation))
    values = scores[index[:, 0], index[:, 1], index[:, 2]].double()
    order = torch.sort(values, descending=True, stable=True).indices[:most]
    return Peaks(
        positions=index[order].numpy(),
        heights=((values[order] - median) / deviation).numpy(),
        values=values[order].numpy(),
        orientations=np.full(len(order), -1, np.int64),
    )


def robust_spread(scores: Tensor) -> tuple[float, float]:
    """Return the median and 1.4826 x the median absolute deviation of a map."""
    flat = scores.reshape(-1)
    median = flat.median()
    deviation = MAD_TO_SIGMA * float((flat - median).abs().median())
    return float(median), max(deviation, float(torch.finfo(torch.float32).tiny))

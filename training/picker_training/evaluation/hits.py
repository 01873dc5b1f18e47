"""What the rules of the SHREC challenges share: picks become voxels, voxels hit particles, particles get a class."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from picker_training.datasets.truth import Truth
from picker_training.evaluation.confusion import ConfusionMatrix

FRAME_OFFSET = 156
"""Slices of the 512-slice reconstruction before and after the 200 slices that the truth covers (SHREC 2019, 2020)."""

NO_CLASS = "0"
"""The label by which a pick of the organisers' lists says that it has no class."""

_CROSS = np.array([(0, 0, 0), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)])


class ZFrame(StrEnum):
    """Where z of a picks list counts from: the truth's slab, the whole tomogram, or as the organisers take it."""

    SLAB = "slab"
    TOMOGRAM = "tomogram"
    GUESS = "guess"


@dataclass(frozen=True, kw_only=True)
class PlacedPicks:
    """A list of picks in file order, in the frame of the mask.

    names: class of each pick, as the rule spells it.
    exact: `(n, 3) float64, zyx, voxels`, neither rounded nor clipped.
    voxels: `(n, 3) int64, zyx`, rounded, then shifted, then clipped; some rules leave voxels outside the mask.
    clipped: how many picks the clipping changed.
    """

    names: tuple[str, ...]
    exact: NDArray[np.float64]
    voxels: NDArray[np.int64]
    clipped: int

    @classmethod
    def place(
        cls,
        names: Sequence[str],
        positions: NDArray[np.float64],
        *,
        shift: Sequence[int],
        low: Sequence[float],
        high: Sequence[float],
    ) -> Self:
        """Round half to even, take off the shift (zyx), clip to low..high, both included (zyx)."""
        offset = np.array(shift, np.float64)
        rounded = np.rint(positions) - offset
        clipped = np.clip(rounded, low, high)
        return cls(
            names=tuple(names),
            exact=positions - offset,
            voxels=clipped.astype(np.int64),
            clipped=int(np.any(clipped != rounded, axis=1).sum()),
        )

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, kw_only=True)
class Hits:
    """The truths that were hit.

    truths: `(m,) intp`, from 0, ascending. first: `(m,) intp`, the first pick in file order that hit each.
    times: `(m,) intp`, how many picks hit each.
    """

    truths: NDArray[np.intp]
    first: NDArray[np.intp]
    times: NDArray[np.intp]

    @classmethod
    def find(cls, numbers: NDArray[np.int64]) -> Self:
        """Gather the particle number at each pick's voxel, `(n,)`, 0 = background."""
        particles, first, times = np.unique(numbers, return_index=True, return_counts=True)
        on_truth = particles > 0
        return cls(truths=particles[on_truth] - 1, first=first[on_truth], times=times[on_truth])

    def among(self, kept: NDArray[np.bool_]) -> Self:
        """Return the hits on some truths alone, `(truths,) bool`."""
        chosen = kept[self.truths]
        return type(self)(truths=self.truths[chosen], first=self.first[chosen], times=self.times[chosen])

    def __len__(self) -> int:
        return len(self.truths)


def dilated_at(mask: NDArray[np.integer[Any]], voxels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the values of the mask, grey-dilated once with the cross of six neighbours, at some voxels.

    The largest of a voxel and its neighbours wins, also over the voxel's own number. Nothing grows beyond the mask.

    mask: `(D, H, W), zyx`. voxels: `(n, 3) int64, zyx`; those outside the mask have value 0.
    """
    return _largest_at(mask, voxels, _CROSS)


def values_at(mask: NDArray[np.integer[Any]], voxels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the values of the mask as it is at some voxels, `(n, 3) int64, zyx`; those outside it have value 0."""
    return _largest_at(mask, voxels, _CROSS[:1])


def mean_distance(ends: NDArray[Any], truth: Truth, truths: NDArray[np.intp], *, listed: bool) -> float | None:
    """Return the mean distance in voxels of picks from the truths they hit, None without any.

    ends: `(m, 3) zyx`. truths: `(m,) intp`. listed: whether the truths' centres are rounded, as the organisers' are.
    """
    if not len(truths):
        return None
    centres = truth.positions[truths]
    return float(np.linalg.norm(ends - (np.rint(centres) if listed else centres), axis=1).mean())


def classify(
    classes: Sequence[str], truth_names: Sequence[str], found: ArrayLike, predicted_names: Sequence[str]
) -> ConfusionMatrix:
    """Return the confusion over truths alone: those found have a predicted name, the others are background.

    A predicted name that is no class is background too.
    """
    label = {name: i for i, name in enumerate(classes, start=1)}
    predicted = np.zeros(len(truth_names), np.intp)
    predicted[np.asarray(found, np.intp)] = [label.get(name, 0) for name in predicted_names]
    return ConfusionMatrix.tally(classes, [label[name] for name in truth_names], predicted)


def with_others(classes: Sequence[str], truth_names: Sequence[str]) -> tuple[str, ...]:
    """Return a challenge's classes and after them the truth's own others, sorted."""
    return (*classes, *sorted(set(truth_names) - set(classes)))


def unknown_names(classes: Sequence[str], pick_names: Sequence[str]) -> tuple[str, ...]:
    """Return the warning for picks whose class nothing knows."""
    unknown = sorted(set(pick_names) - {*classes, NO_CLASS})
    return (f"unknown classes count as background: {', '.join(unknown)}",) if unknown else ()


def outside_slab(picks: PlacedPicks, slices: int, *, option: str = "--z-frame") -> tuple[str, ...]:
    """Return the warning for a list whose z, taken as the slab's, mostly lies outside it.

    option: by which the rule is told where z counts from.
    """
    z = np.rint(picks.exact[:, 0])
    outside = int(np.sum((z < 0) | (z >= slices)))
    if 2 * outside <= len(picks):
        return ()
    return (f"{outside} of {len(picks)} picks lie above or below the {slices} slices of the truth: see {option}",)


def check(names: Sequence[str], positions: NDArray[np.float64], truth: Truth, mask: NDArray[np.integer[Any]]) -> None:
    """Check that picks, truth and mask belong together.

    Raises:
        ValueError: if names and positions differ in number or the mask holds a number beyond the truth.
    """
    if positions.shape != (len(names), 3):
        raise ValueError(f"{len(names)} names, but positions of shape {positions.shape}")
    if mask.max(initial=0) > len(truth):
        raise ValueError(f"the mask holds particle {mask.max()}, the truth has {len(truth)} particles")


def _largest_at(
    mask: NDArray[np.integer[Any]], voxels: NDArray[np.int64], neighbours: NDArray[np.int64]
) -> NDArray[np.int64]:
    last = np.array(mask.shape) - 1
    inside = np.all((voxels >= 0) & (voxels <= last), axis=1)
    # A neighbour beyond the mask is replaced by the voxel itself.
    z, y, x = np.moveaxis(np.clip(voxels[inside, None] + neighbours, 0, last), -1, 0)  # (inside, neighbours) each
    values = np.zeros(len(voxels), np.int64)
    values[inside] = mask[z, y, x].max(axis=1)
    return values

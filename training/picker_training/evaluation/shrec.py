"""The rules of the SHREC challenges, as their organisers' scripts behave."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picker_training.datasets.truth import Truth
from picker_training.evaluation.confusion import ConfusionMatrix, mean, ratio
from picker_training.evaluation.localisation import Localisation

CLASSES_2020 = ("3cf3", "1s3x", "1u6g", "4cr2", "1qvr", "3h84", "2cg9", "3qm1", "3gl1", "3d2f", "4d8q", "1bxn")
"""The classes of SHREC 2020 in the order of their numbers, from 1."""

FRAME_OFFSET = 156
"""Slices of the 512-slice reconstruction before and after the 200 slices that the truth covers (SHREC 2020)."""

_CROSS = np.array([(0, 0, 0), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)])


class ZFrame(StrEnum):
    """Where z of a picks list counts from: the truth's slab, the whole tomogram, or as the organisers guess."""

    SLAB = "slab"
    TOMOGRAM = "tomogram"
    GUESS = "guess"


@dataclass(frozen=True, kw_only=True)
class ShrecScore(Localisation):
    """What an organisers' rule reports, under the names of their tables where they are short.

    picks: RR, all picks. tp: truths hit. fp: picks on background. mh: truths hit more than once.
    ro: picks that the rule's clipping changed. ad: mean distance in voxels of the first pick of each truth, rounded and
    clipped, from its listed centre; None without a hit.
    confusion: over the truths alone, not hit = background.
    """

    fp: int
    mh: int
    ro: int
    ad: float | None
    confusion: ConfusionMatrix
    warnings: tuple[str, ...] = ()

    @property
    def mean_class_f1(self) -> float | None:
        """Mean F1 of the classes that truth or prediction hold; background is left out."""
        return mean([f1 for f1 in self.confusion.f1.values() if f1 is not None])

    def to_json(self) -> dict[str, Any]:
        """Return the score as plain values, under the names of the organisers' tables."""
        return {
            "rr": self.picks,
            "tp": self.tp,
            "fp": self.fp,
            "fn": self.fn,
            "mh": self.mh,
            "ro": self.ro,
            "ad": self.ad,
            "recall": self.recall,
            "precision": self.precision,
            "miss_rate": ratio(self.fn, self.truths),
            "f1": self.f1,
            "class_f1": self.confusion.f1,
            "mean_class_f1": self.mean_class_f1,
            "confusion_matrix": self.confusion.to_json(),
            "warnings": list(self.warnings),
        }


def score_2020(
    *,
    pick_names: Sequence[str],
    pick_positions: NDArray[np.float64],
    truth: Truth,
    occupancy_mask: NDArray[np.integer[Any]],
    z_frame: ZFrame | str = ZFrame.SLAB,
) -> ShrecScore:
    """Score picks by the rule of SHREC 2020, `shrec2020`.

    Positions are rounded, half to even, moved into the tomogram's frame (see `ZFrame`) and clipped to it. A pick hits
    the particle whose number `dilated_at` finds there. The first pick that hits a truth gives its class; "0" and
    unknown names are background there. What is counted: `ShrecScore`.

    Worked: one truth, its only voxel at x, y, z = 2, 2, 2. Picks: 2 2 2.5 rounds to the voxel and hits; 2 3 2 is a
    neighbour and hits again; 3 3 2 touches only by an edge: background. TP 1, FP 1, MH 1, AD 0, precision 1/3, F1 1/2.

    pick_positions: `(n, 3) float64, zyx, voxels`, in file order. occupancy_mask: `(D, H, W), zyx`, not dilated.

    Raises:
        ValueError: if names and positions differ in number or the mask holds a number beyond the truth.
    """
    _check(pick_names, pick_positions, truth, occupancy_mask)
    voxels, clipped = _place(pick_positions, occupancy_mask.shape, ZFrame(z_frame))
    particles, first, times = np.unique(dilated_at(occupancy_mask, voxels), return_index=True, return_counts=True)
    on_truth = particles > 0
    found, first = particles[on_truth] - 1, first[on_truth]
    errors = np.linalg.norm(voxels[first] - np.rint(truth.positions[found]), axis=1)
    classes = CLASSES_2020 + tuple(name for name in truth.classes if name not in CLASSES_2020)
    return ShrecScore(
        picks=len(pick_names),
        truths=len(truth),
        tp=len(found),
        fp=int(times[~on_truth].sum()),
        mh=int(np.sum(times[on_truth] > 1)),
        ro=clipped,
        ad=float(errors.mean()) if len(found) else None,
        confusion=_classify(classes, truth, found, [pick_names[i] for i in first]),
        warnings=_unknown_names(classes, pick_names),
    )


def dilated_at(mask: NDArray[np.integer[Any]], voxels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the values of the mask, grey-dilated once with the cross of six neighbours, at some voxels.

    The largest of a voxel and its neighbours wins, also over the voxel's own number. Nothing grows beyond the mask.

    mask: `(D, H, W), zyx`. voxels: `(n, 3) int64, zyx`; those outside the mask have value 0.
    """
    last = np.array(mask.shape) - 1
    inside = np.all((voxels >= 0) & (voxels <= last), axis=1)
    # A neighbour beyond the mask is replaced by the voxel itself.
    z, y, x = np.moveaxis(np.clip(voxels[inside, None] + _CROSS, 0, last), -1, 0)  # (inside, 7) each
    values = np.zeros(len(voxels), np.int64)
    values[inside] = mask[z, y, x].max(axis=1)
    return values


def _check(names: Sequence[str], positions: NDArray[np.float64], truth: Truth, mask: NDArray[np.integer[Any]]) -> None:
    if positions.shape != (len(names), 3):
        raise ValueError(f"{len(names)} names, but positions of shape {positions.shape}")
    if mask.max(initial=0) > len(truth):
        raise ValueError(f"the mask holds particle {mask.max()}, the truth has {len(truth)} particles")


def _place(positions: NDArray[np.float64], shape: tuple[int, ...], z_frame: ZFrame) -> tuple[NDArray[np.int64], int]:
    """Return the picks' voxels `(n, 3) int64, zyx` of the slab, clipped to the tomogram, and how many clipping changed.

    The tomogram has `FRAME_OFFSET` slices more than the slab below and above, so z may lie outside the slab.
    """
    voxels = np.rint(positions)
    if z_frame is ZFrame.TOMOGRAM or (z_frame is ZFrame.GUESS and _looks_like_tomogram(voxels[:, 0], shape[0])):
        voxels[:, 0] -= FRAME_OFFSET
    low = (-FRAME_OFFSET, 0, 0)
    high = (shape[0] + FRAME_OFFSET - 1, shape[1] - 1, shape[2] - 1)
    clipped = np.clip(voxels, low, high)
    return clipped.astype(np.int64), int(np.any(clipped != voxels, axis=1).sum())


def _looks_like_tomogram(z: NDArray[np.float64], slices: int) -> bool:
    """Guess as the organisers do: all rounded z lie in the slab's part of the tomogram, one slice beyond included."""
    return len(z) > 0 and z.min() >= FRAME_OFFSET and z.max() <= FRAME_OFFSET + slices


def _classify(
    classes: tuple[str, ...], truth: Truth, found: NDArray[np.intp], predicted_names: Sequence[str]
) -> ConfusionMatrix:
    label = {name: i for i, name in enumerate(classes, start=1)}
    predicted = np.zeros(len(truth), np.intp)
    predicted[found] = [label.get(name, 0) for name in predicted_names]
    return ConfusionMatrix.tally(classes, [label[name] for name in truth.names], predicted)


def _unknown_names(classes: tuple[str, ...], pick_names: Sequence[str]) -> tuple[str, ...]:
    unknown = sorted(set(pick_names) - {*classes, "0"})
    return (f"unknown classes count as background: {', '.join(unknown)}",) if unknown else ()

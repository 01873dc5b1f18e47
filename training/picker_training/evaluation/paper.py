"""The rule of the paper whose method this is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picker_training.datasets.truth import Truth
from picker_training.evaluation.confusion import ClassCounts, ConfusionMatrix, ratio
from picker_training.evaluation.hits import (
    Hits,
    PlacedPicks,
    check,
    dilated_at,
    mean_distance,
    unknown_names,
    with_others,
)
from picker_training.evaluation.shrec2020 import CLASSES_2020
from picker_training.evaluation.shrec_score import ShrecScore


@dataclass(frozen=True, kw_only=True)
class PaperScore(ShrecScore):
    """What the paper's rule reports, as `ShrecScore` but for these.

    ro: 0, nothing is clipped. confusion: over the picks inside the volume and the truths without any.
    counts_by_class: right = truths of the class hit by a pick of its label; predictions = right + picks of the label
    elsewhere.
    """

    counts_by_class: Mapping[str, ClassCounts]

    @property
    def precision(self) -> float:
        """Truths found among these and the picks on background: duplicates are left out."""
        return ratio(self.tp, self.tp + self.fp)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return ratio(2 * self.tp, self.tp + self.fp + self.truths)

    @property
    def class_counts(self) -> Mapping[str, ClassCounts]:
        """What the rule counts for each class."""
        return self.counts_by_class


def score_paper(
    *,
    pick_names: Sequence[str],
    pick_positions: NDArray[np.float64],
    truth: Truth,
    occupancy_mask: NDArray[np.integer[Any]],
) -> PaperScore:
    """Score picks by the rule of Wu, Liu, Yang (ISBI 2022), `paper`; the order of the picks gives the distance alone.

    Positions are rounded, half to even; picks outside the volume are dropped. It hits what `dilated_at` finds there.
    Precision is TP / (TP + FP). Class TP: truths of the class hit by any pick so labelled; class FP: picks so labelled
    anywhere else, background included; class FN: the other truths of the class.

    Worked: truths 1bxn at x, y, z = 2, 2, 2 and 4d8q at 6, 2, 2, of one voxel each. Picks: 4d8q at 2 2 2, 1bxn at the
    same place, 1bxn at 6 6 6. TP 1, FP 1, precision 1/2, recall 1/2, F1 1/2. 1bxn: TP 1, FP 1, FN 0, F1 2/3;
    4d8q: TP 0, FP 1, FN 1, F1 0.

    pick_positions: `(n, 3) float64, zyx, voxels`. occupancy_mask: `(D, H, W), zyx`, not dilated.

    Raises:
        ValueError: if names and positions differ in number or the mask holds a number beyond the truth.
    """
    check(pick_names, pick_positions, truth, occupancy_mask)
    inside = np.all((np.rint(pick_positions) >= 0) & (np.rint(pick_positions) < occupancy_mask.shape), axis=1)
    picks = _placed(pick_names, pick_positions, inside)
    numbers = dilated_at(occupancy_mask, picks.voxels)
    hits, classes = Hits.find(numbers), with_others(CLASSES_2020, truth.names)
    return PaperScore(
        picks=len(pick_names),
        truths=len(truth),
        tp=len(hits),
        fp=int(np.sum(numbers == 0)),
        mh=int(np.sum(hits.times > 1)),
        ro=0,
        ad=mean_distance(picks.voxels[hits.first], truth, hits.truths, listed=True),
        centre_error=mean_distance(picks.exact[hits.first], truth, hits.truths, listed=False),
        confusion=_confusion(classes, picks.names, numbers, truth),
        counts_by_class={name: _count(name, picks.names, numbers, truth) for name in classes},
        warnings=unknown_names(classes, picks.names) + _outside(int(np.sum(~inside))),
    )


def _placed(names: Sequence[str], positions: NDArray[np.float64], inside: NDArray[np.bool_]) -> PlacedPicks:
    """Round the picks inside the volume."""
    kept = [names[i] for i in np.flatnonzero(inside).tolist()]
    return PlacedPicks.place(kept, positions[inside], shift=(0, 0, 0), low=(-np.inf,) * 3, high=(np.inf,) * 3)


def _outside(dropped: int) -> tuple[str, ...]:
    return (f"{dropped} picks outside the volume",) if dropped else ()


def _count(name: str, pick_names: Sequence[str], numbers: NDArray[np.int64], truth: Truth) -> ClassCounts:
    """Return what the rule counts for one class."""
    own = np.array([False, *(other == name for other in truth.names)])  # by particle number
    landed = numbers[np.array([other == name for other in pick_names], bool)]
    right = len(np.unique(landed[own[landed]]))
    return ClassCounts(truths=int(own.sum()), predictions=right + int(np.sum(~own[landed])), right=right)


def _confusion(
    classes: Sequence[str], pick_names: Sequence[str], numbers: NDArray[np.int64], truth: Truth
) -> ConfusionMatrix:
    label = {name: i for i, name in enumerate(classes, start=1)}
    by_number = np.array([0, *(label[name] for name in truth.names)])
    missed = np.setdiff1d(np.arange(1, len(truth) + 1), numbers)
    predicted = [label.get(name, 0) for name in pick_names]
    return ConfusionMatrix.tally(classes, by_number[np.concatenate([numbers, missed])], predicted + [0] * len(missed))

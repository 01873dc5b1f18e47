"""What a rule of the SHREC challenges reports, and how it follows from the first hits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picker_training.datasets.truth import Truth
from picker_training.evaluation.confusion import ClassCounts, ConfusionMatrix, mean
from picker_training.evaluation.hits import Hits, PlacedPicks, classify, mean_distance
from picker_training.evaluation.localisation import Localisation
from picker_training.evaluation.masses import f1_by_mass, size_groups


@dataclass(frozen=True, kw_only=True)
class ShrecScore(Localisation):
    """What an organisers' rule reports, under the names of their tables where they are short.

    picks: RR, all picks. tp: truths hit. fp: picks on background. mh: truths hit more than once.
    ro: picks that the rule's clipping changed. ad: mean distance in voxels of the first pick of each truth, rounded and
    clipped, from its listed centre; None without a hit.
    centre_error: the same of the same picks, neither side rounded nor clipped.
    confusion: over the truths alone, not hit = background.
    uncounted: truths in the recall's denominator that are neither found nor missed (the vesicles of SHREC 2021).
    """

    fp: int
    mh: int
    ro: int
    ad: float | None
    centre_error: float | None
    confusion: ConfusionMatrix
    uncounted: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def fn(self) -> int:
        """Truths that were not found."""
        return self.truths - self.uncounted - self.tp

    @property
    def class_counts(self) -> Mapping[str, ClassCounts]:
        """What the rule counts for each class."""
        return self.confusion.class_counts

    @property
    def class_f1(self) -> dict[str, float | None]:
        """F1 of each class; None where it is in neither truth nor prediction."""
        return {name: counts.f1 for name, counts in self.class_counts.items()}

    @property
    def mean_class_f1(self) -> float | None:
        """Mean F1 of the classes that truth or prediction hold; background is left out."""
        return mean([f1 for f1 in self.class_f1.values() if f1 is not None])

    def to_json(self) -> dict[str, Any]:
        """Return the score as plain values, under the names of the organisers' tables."""
        return {
            "rr": self.picks,
            "truths": self.truths,
            "tp": self.tp,
            "fp": self.fp,
            "fn": self.fn,
            "mh": self.mh,
            "ro": self.ro,
            "ad": self.ad,
            "centre_error_voxels": self.centre_error,
            "recall": self.recall,
            "precision": self.precision,
            "miss_rate": self.miss_rate,
            "f1": self.f1,
            "class_f1": self.class_f1,
            "mean_class_f1": self.mean_class_f1,
            "confusion_matrix": self.confusion.to_json(),
            "size_groups": size_groups(self.class_f1),
            "f1_by_mass": [point.to_json() for point in f1_by_mass(self.class_f1)],
            "warnings": list(self.warnings),
        }


def score_first_hits(
    picks: PlacedPicks,
    numbers: NDArray[np.int64],
    truth: Truth,
    classes: Sequence[str],
    *,
    kept: NDArray[np.bool_] | None = None,
    warnings: tuple[str, ...] = (),
) -> ShrecScore:
    """Score picks whose first one in file order gives a truth its class and its distance.

    numbers: `(n,) int64`, particle number at each pick's voxel. kept: `(truths,) bool`, truths that count; None: all.
    Picks on a truth that does not count are neither right nor wrong, but are among the picks.
    """
    counted = np.ones(len(truth), bool) if kept is None else kept
    hits = Hits.find(numbers).among(counted)
    row = np.cumsum(counted) - 1  # where a truth stands among those that count
    return ShrecScore(
        picks=len(picks),
        truths=int(counted.sum()),
        tp=len(hits),
        fp=int(np.sum(numbers == 0)),
        mh=int(np.sum(hits.times > 1)),
        ro=picks.clipped,
        ad=mean_distance(picks.voxels[hits.first], truth, hits.truths, listed=True),
        centre_error=mean_distance(picks.exact[hits.first], truth, hits.truths, listed=False),
        confusion=classify(
            classes,
            [name for name, counts in zip(truth.names, counted, strict=True) if counts],
            row[hits.truths],
            [picks.names[i] for i in hits.first],
        ),
        warnings=warnings,
    )

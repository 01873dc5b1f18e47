"""The confusion matrix, from which every class score follows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

BACKGROUND = "background"


class ClassCounts(NamedTuple):
    """What a rule counts for one class: truths of it, predictions of it, and how many of them are right."""

    truths: int
    predictions: int
    right: int

    @property
    def f1(self) -> float | None:
        """F1 of the class; None where it is in neither truth nor prediction."""
        size = self.truths + self.predictions
        return ratio(2 * self.right, size) if size else None


@dataclass(frozen=True, kw_only=True)
class ConfusionMatrix:
    """How often a truth of one label was taken for another.

    labels: background first, then the classes.
    counts: `(labels, labels) int64`, rows truth, columns prediction.
    """

    labels: tuple[str, ...]
    counts: NDArray[np.int64]

    @classmethod
    def tally(cls, classes: Sequence[str], truth: ArrayLike, prediction: ArrayLike) -> "ConfusionMatrix":
        """Count pairs of label indices, 0 for background and i + 1 for class i."""
        counts = np.zeros((len(classes) + 1, len(classes) + 1), np.int64)
        np.add.at(counts, (np.asarray(truth, np.intp), np.asarray(prediction, np.intp)), 1)
        return cls(labels=(BACKGROUND, *classes), counts=counts)

    @property
    def truths(self) -> dict[str, int]:
        """Truths of each class."""
        return dict(zip(self.labels[1:], self.counts.sum(axis=1)[1:].tolist(), strict=True))

    @property
    def predictions(self) -> dict[str, int]:
        """Predictions of each class."""
        return dict(zip(self.labels[1:], self.counts.sum(axis=0)[1:].tolist(), strict=True))

    @property
    def right(self) -> dict[str, int]:
        """Right predictions of each class."""
        return dict(zip(self.labels[1:], self.counts.diagonal()[1:].tolist(), strict=True))

    @property
    def class_counts(self) -> dict[str, ClassCounts]:
        """What the matrix says of each class, one against the rest."""
        truths, predictions, right = self.truths, self.predictions, self.right
        return {name: ClassCounts(truths[name], predictions[name], right[name]) for name in self.labels[1:]}

    @property
    def f1(self) -> dict[str, float | None]:
        """One-against-the-rest F1 of each class; None where it is in neither truth nor prediction."""
        return {name: counts.f1 for name, counts in self.class_counts.items()}

    def to_json(self) -> dict[str, list[str] | list[list[int]]]:
        """Return labels and rows, rows truth, columns prediction."""
        return {"labels": list(self.labels), "rows": self.counts.tolist()}


def ratio(part: float, whole: float) -> float:
    """Return part / whole, 0 where there is no whole."""
    return part / whole if whole else 0.0


def mean(values: Sequence[float]) -> float | None:
    """Return the mean, None of nothing."""
    return sum(values) / len(values) if values else None

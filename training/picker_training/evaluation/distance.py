"""The rule `distance`: a pick is right within half the particle's diameter; needs centres and diameters alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picker_training.datasets.truth import Truth
from picker_training.evaluation.confusion import ConfusionMatrix, mean
from picker_training.evaluation.localisation import Localisation


@dataclass(frozen=True, kw_only=True)
class DistanceScore(Localisation):
    """What the rule reports.

    tp: picks matched to a truth, whatever their class. centre_error: their mean distance in voxels, neither side
    rounded; None without a match. confusion: over matched pairs, picks without a truth (row background) and truths
    without a pick (column background).
    """

    centre_error: float | None
    confusion: ConfusionMatrix

    @property
    def fp(self) -> int:
        """Picks without a truth."""
        return self.picks - self.tp

    @property
    def class_f1(self) -> dict[str, float | None]:
        """F1 of each class; None where it is in neither truth nor picks."""
        return self.confusion.f1

    @property
    def mean_class_f1(self) -> float | None:
        """Mean F1 of the classes that have truths."""
        return mean([f1 or 0.0 for name, f1 in self.confusion.f1.items() if self.confusion.truths[name]])

    def to_json(self) -> dict[str, Any]:
        """Return the score as plain values."""
        return {
            "picks": self.picks,
            "truths": self.truths,
            "tp": self.tp,
            "fp": self.fp,
            "fn": self.fn,
            "recall": self.recall,
            "precision": self.precision,
            "f1": self.f1,
            "centre_error_voxels": self.centre_error,
            "class_f1": self.class_f1,
            "mean_class_f1": self.mean_class_f1,
            "confusion_matrix": self.confusion.to_json(),
        }


def score(
    picks_positions: NDArray[np.float64],
    picks_class_names: Sequence[str],
    picks_scores: NDArray[np.float64],
    truth: Truth,
    diameters_voxels: Mapping[str, float],
) -> DistanceScore:
    """Score picks by distance, see `match`; the class F1 also needs the same class.

    Worked: truths a at x = 0 and b at x = 10, diameters 6; picks a at 1 (score 0.9), a at 2 (0.8), a at 10.5 (0.7). The
    first takes truth a, the second finds it taken: false. The third takes b in the wrong class. TP 2, precision 2/3,
    recall 1, F1 0.8, centre error 0.75, F1 of a 2 x 1 / (3 + 1) = 0.5, of b 0, mean 0.25.

    picks_positions: `(n, 3) float64, zyx, voxels`. picks_scores: `(n,) float64`.
    diameters_voxels: class of the truth -> diameter in voxels.

    Raises:
        ValueError: if the picks' arrays differ in length, or a class of the truth has no diameter.
    """
    n = len(picks_class_names)
    if picks_positions.shape != (n, 3) or picks_scores.shape != (n,):
        raise ValueError(f"{n} names, positions of shape {picks_positions.shape}, scores {picks_scores.shape}")
    if missing := set(truth.classes) - set(diameters_voxels):
        raise ValueError(f"no diameter for {', '.join(sorted(missing))}")
    radii = np.array([diameters_voxels[name] / 2 for name in truth.names])
    taken = match(picks_positions, picks_scores, truth.positions, radii)
    matched = taken >= 0
    errors = np.linalg.norm(picks_positions[matched] - truth.positions[taken[matched]], axis=1)
    return DistanceScore(
        picks=n,
        truths=len(truth),
        tp=len(errors),
        centre_error=float(errors.mean()) if len(errors) else None,
        confusion=_confusion(truth, picks_class_names, taken),
    )


def match(
    picks: NDArray[np.float64],
    scores: NDArray[np.float64],
    truths: NDArray[np.float64],
    radii: NDArray[np.float64],
) -> NDArray[np.intp]:
    """Give each pick, by descending score, the nearest free truth within that truth's radius.

    Ties: equal scores in the order given, equal distances to the truth of smaller x.

    picks, truths: `(n, 3)` and `(m, 3) float64, zyx, voxels`. radii: `(m,) float64, voxels`.

    Returns `(n,) intp`, the truth of each pick, -1 for none.
    """
    along_x = np.argsort(truths[:, 2], kind="stable")
    centres, reach = truths[along_x], radii[along_x] ** 2
    free = np.ones(len(centres), bool)
    widest = radii.max(initial=0.0)
    start = np.searchsorted(centres[:, 2], picks[:, 2] - widest, side="left")
    stop = np.searchsorted(centres[:, 2], picks[:, 2] + widest, side="right")
    taken = np.full(len(picks), -1, np.intp)
    for i in np.argsort(-scores, kind="stable"):
        window = slice(start[i], stop[i])
        squared = np.sum((centres[window] - picks[i]) ** 2, axis=1)
        squared[~(free[window] & (squared <= reach[window]))] = np.inf
        if np.isfinite(squared.min(initial=np.inf)):
            nearest = start[i] + np.argmin(squared)
            free[nearest] = False
            taken[i] = along_x[nearest]
    return taken


def _confusion(truth: Truth, names: Sequence[str], taken: NDArray[np.intp]) -> ConfusionMatrix:
    classes = sorted({*truth.names, *names})
    label = {name: i for i, name in enumerate(classes, start=1)}
    truth_labels = np.array([*(label[name] for name in truth.names), 0])  # the last one stands for no truth, index -1
    missed = np.setdiff1d(np.arange(len(truth)), taken)
    return ConfusionMatrix.tally(
        classes,
        np.concatenate([truth_labels[taken], truth_labels[missed]]),
        [*(label[name] for name in names), *(0 for _ in missed)],
    )

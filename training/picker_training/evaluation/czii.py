"""The rule of the CZII challenge (CryoET Object Identification, 2024): F-beta of each class, weighted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from picker_training.datasets.truth import Truth
from picker_training.evaluation.confusion import ClassCounts, ConfusionMatrix, mean, ratio
from picker_training.evaluation.localisation import Localisation
from picker_training.evaluation.masses import f1_by_mass, size_groups

RADII_ANGSTROM = {
    "apo-ferritin": 60.0, "beta-amylase": 65.0, "beta-galactosidase": 90.0, "ribosome": 150.0, "thyroglobulin": 130.0,
    "virus-like-particle": 135.0,
}  # fmt: skip
"""Radius of each class of the challenge, as its metric has them."""

WEIGHTS = {
    "apo-ferritin": 1.0, "beta-amylase": 0.0, "beta-galactosidase": 2.0, "ribosome": 1.0, "thyroglobulin": 2.0,
    "virus-like-particle": 1.0,
}  # fmt: skip
"""Weight of each class of the challenge, as its metric has them."""

REACH = 0.5
"""A pick hits a particle within this part of the particle's radius."""

BETA = 4.0
"""Recall counts so many times as much as precision."""


class Tomogram(NamedTuple):
    """Picks and truth of one tomogram.

    pick_positions: `(n, 3) float64, zyx, voxels`. voxel_size: angstrom.
    """

    pick_names: Sequence[str]
    pick_positions: NDArray[np.float64]
    truth: Truth
    voxel_size: float


@dataclass(frozen=True, kw_only=True)
class CziiScore(Localisation):
    """What the rule reports, summed over the tomograms.

    tp: truths hit by a pick of their own class. picks, truths: of all classes. mh: truths hit more than once.
    ad: mean distance in voxels of each truth that was hit from the nearest pick that hit it; None without a hit.
    class_counts: the same by class. weights: of each class; a class without truths scores 0.
    """

    mh: int
    ad: float | None
    class_counts: Mapping[str, ClassCounts]
    weights: Mapping[str, float]

    @property
    def fp(self) -> int:
        """Picks less the truths they hit: duplicates are among them."""
        return self.picks - self.tp

    @property
    def class_f1(self) -> dict[str, float | None]:
        """F1 of each class; None where it is in neither truth nor picks."""
        return {name: counts.f1 for name, counts in self.class_counts.items()}

    @property
    def mean_class_f1(self) -> float | None:
        """Mean F1 of the classes that truth or picks hold, whatever their weight."""
        return mean([f1 for f1 in self.class_f1.values() if f1 is not None])

    @property
    def class_fbeta(self) -> dict[str, float]:
        """F-beta of each class, 0 where nothing was found or there is no truth."""
        squared = BETA**2
        return {
            name: ratio((1 + squared) * counts.right, counts.predictions + squared * counts.truths)
            for name, counts in self.class_counts.items()
        }

    @property
    def fbeta(self) -> float:
        """Mean F-beta of the classes by their weights; 0 if all weigh nothing."""
        weighted = sum(self.weights[name] * value for name, value in self.class_fbeta.items())
        return ratio(weighted, sum(self.weights.values()))

    @property
    def confusion(self) -> ConfusionMatrix:
        """Truths found (diagonal), truths missed (column background), picks that found none (row background)."""
        found = np.diag([0, *(counts.right for counts in self.class_counts.values())])
        found[1:, 0] = [counts.truths - counts.right for counts in self.class_counts.values()]
        found[0, 1:] = [counts.predictions - counts.right for counts in self.class_counts.values()]
        return ConfusionMatrix(labels=("background", *self.class_counts), counts=found.astype(np.int64))

    def to_json(self) -> dict[str, Any]:
        """Return the score as plain values; nothing is clipped, so `ro` is 0."""
        return {
            "rr": self.picks,
            "truths": self.truths,
            "tp": self.tp,
            "fp": self.fp,
            "fn": self.fn,
            "mh": self.mh,
            "ro": 0,
            "ad": self.ad,
            "recall": self.recall,
            "precision": self.precision,
            "miss_rate": self.miss_rate,
            "f1": self.f1,
            "fbeta4": self.fbeta,
            "class_fbeta4": self.class_fbeta,
            "class_f1": self.class_f1,
            "mean_class_f1": self.mean_class_f1,
            "confusion_matrix": self.confusion.to_json(),
            "size_groups": size_groups(self.class_f1),
            "f1_by_mass": [point.to_json() for point in f1_by_mass(self.class_f1)],
            "warnings": [],
        }


def score_czii(
    tomograms: Iterable[Tomogram],
    *,
    radii_angstrom: Mapping[str, float],
    weights: Mapping[str, float] | None = None,
) -> CziiScore:
    """Score picks by the rule of the CZII challenge, `czii`.

    A pick hits every truth of its own class within half that class's radius, the border included. In each tomogram and
    class, TP are the truths hit, FP the picks of the class less TP (so duplicates are false), FN the other truths; all
    are summed over the tomograms. F-beta of a class is 17 TP / (17 TP + FP + 16 FN), beta being 4; `fbeta4` is their
    mean by the weights, in which a class without truths counts 0 with its weight.

    Worked: class a, radius 60, weight 1, and b, radius 90, weight 2, the truths a at 0 0 0, a at 0 0 200, b at 0 0 500
    (angstrom). Picks: a at 0 0 30 (hits: 30 is half of 60), a at 0 0 10 (hits again), b at 0 0 546 (too far by 1).
    a: TP 1, FP 1, FN 1, F-beta 17 / 34 = 1/2; b: TP 0, FP 1, FN 1, F-beta 0. fbeta4 = (1 x 1/2 + 2 x 0) / 3 = 1/6.

    Facts: the metric of the competition's host ("CZI cryoET 84969"), whose `distance_multiplier` is 0.5 and `beta` 4. A
    pick near two truths may hit both, so in rare lists a class's FP is below 0, there as here.

    radii_angstrom: every class that is scored. weights: 1 where absent.

    Raises:
        ValueError: if a pick or a truth is of a class without radius, or a weight of one.
    """
    _check_known(weights or (), radii_angstrom)
    tally, found = _tally(tomograms, radii_angstrom)
    truths, picks, right, multiple = (int(total) for total in sum(tally.values(), np.zeros(4, np.int64)))
    return CziiScore(
        picks=picks,
        truths=truths,
        tp=right,
        mh=multiple,
        ad=float(found.mean()) if len(found) else None,
        class_counts={name: ClassCounts(*counts[:3].tolist()) for name, counts in tally.items()},
        weights={name: (weights or {}).get(name, 1.0) for name in radii_angstrom},
    )


def _tally(
    tomograms: Iterable[Tomogram], radii: Mapping[str, float]
) -> tuple[dict[str, NDArray[np.int64]], NDArray[np.float64]]:
    """Return by class the truths, picks, truths hit and hit more than once; and the distances in voxels of the hits."""
    tally = {name: np.zeros(4, np.int64) for name in radii}
    distances = [np.zeros(0)]
    for tomogram in tomograms:
        _check_known([*tomogram.pick_names, *tomogram.truth.names], radii)
        for name, counts in tally.items():
            picks = tomogram.pick_positions[_are(name, tomogram.pick_names)] * tomogram.voxel_size
            centres = tomogram.truth.positions[_are(name, tomogram.truth.names)] * tomogram.voxel_size
            times, nearest = _hits(picks, centres, REACH * radii[name])
            counts += [len(centres), len(picks), int(np.sum(times > 0)), int(np.sum(times > 1))]
            distances.append(nearest[times > 0] / tomogram.voxel_size)
    return tally, np.concatenate(distances)


def _check_known(names: Iterable[str], radii: Mapping[str, float]) -> None:
    if missing := set(names) - set(radii):
        raise ValueError(f"no radius for {', '.join(sorted(missing))}")


def _are(name: str, names: Sequence[str]) -> NDArray[np.bool_]:
    return np.array([other == name for other in names], bool)


def _hits(
    picks: NDArray[np.float64], centres: NDArray[np.float64], reach: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return how many picks hit each truth and how near the nearest pick is (infinity without picks)."""
    hits = np.zeros(len(centres), np.int64)
    nearest = np.full(len(centres), np.inf)
    for i, centre in enumerate(centres):
        distance = np.linalg.norm(picks - centre, axis=1)
        hits[i] = np.sum(distance <= reach)
        nearest[i] = distance.min(initial=np.inf)
    return hits, nearest

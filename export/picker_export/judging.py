"""Judging: a graph of less precision against the float32 one, by what both pick where the truth is known."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picker_runtime.card import ModelCard
from picker_runtime.detections import Detections
from picker_runtime.engines.base import Engine
from picker_training.calibration import candidates_of, compare_picks, hits, picks_of, radii_voxels
from picker_training.datasets.annotated import AnnotatedVolume

LARGEST_LOSS = 0.01
"""Of localisation F1 and of mean class F1."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a graph picks in annotated volumes, by the rule `distance` at the card's thresholds, beside float32.

    pick_f1, median_shift_voxels: how much it has in common with float32, see `calibration.Agreement`.
    """

    precision: str
    f1: float
    class_f1: float
    float32_f1: float
    float32_class_f1: float
    pick_f1: float
    median_shift_voxels: float | None

    @property
    def changes(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """F1 and class F1, each of float32 and its own."""
        return (self.float32_f1, self.f1), (self.float32_class_f1, self.class_f1)

    @property
    def passed(self) -> bool:
        """Whether neither F1 is lower by more than the largest loss."""
        return max(before - now for before, now in self.changes) <= LARGEST_LOSS

    def to_json(self) -> dict[str, Any]:
        """Return the judgement as plain values."""
        rounded = {name: round(value, 4) for name, value in asdict(self).items() if isinstance(value, float)}
        return asdict(self) | rounded | {"passed": self.passed}


def judge_precision(
    precision: str, engine: Engine, float32: list[Detections], card: ModelCard, scenes: list[AnnotatedVolume]
) -> Judgement:
    """Compare what an engine, entered, picks with what the float32 graph picked in the scenes, and with the truth."""
    own = [card_picks(engine, card, scene) for scene in scenes]
    mine, theirs = (_Tally.of(picks, card, scenes) for picks in (own, float32))
    radii = [radii_voxels(card, scene.voxel_size) for scene in scenes]
    both = compare_picks(zip(own, float32, radii, strict=True))
    return Judgement(
        precision=precision,
        f1=mine.f1,
        class_f1=mine.class_f1,
        float32_f1=theirs.f1,
        float32_class_f1=theirs.class_f1,
        pick_f1=both.pick_f1,
        median_shift_voxels=both.median_shift_voxels,
    )


def card_picks(engine: Engine, card: ModelCard, scene: AnnotatedVolume) -> Detections:
    """Return the picks of a scene at the card's thresholds."""
    return picks_of(candidates_of(engine, card, scene), card, scene.voxel_size)


@dataclass(frozen=True, kw_only=True)
class _Tally:
    """Picks, picks that hit a particle, picks that hit one of their class, particles: `(classes,)` of each."""

    picks: NDArray[np.intp]
    hits: NDArray[np.intp]
    right: NDArray[np.intp]
    truths: NDArray[np.intp]

    @classmethod
    def of(cls, picks: list[Detections], card: ModelCard, scenes: list[AnnotatedVolume]) -> "_Tally":
        counts = np.zeros((4, len(card.classes)), np.intp)
        for found, scene in zip(picks, scenes, strict=True):
            radii = radii_voxels(card, scene.voxel_size)[scene.class_ids]
            hit, right = hits(found, scene.positions, scene.class_ids, radii)
            for row, ids in enumerate((found.class_ids, found.class_ids[hit], found.class_ids[right], scene.class_ids)):
                counts[row] += np.bincount(ids, minlength=len(card.classes))
        return cls(picks=counts[0], hits=counts[1], right=counts[2], truths=counts[3])

    @property
    def f1(self) -> float:
        return float(2.0 * self.hits.sum() / max(self.picks.sum() + self.truths.sum(), 1))

    @property
    def class_f1(self) -> float:
        there = self.truths > 0
        return float(np.mean(2.0 * self.right[there] / (self.picks + self.truths)[there])) if there.any() else 1.0

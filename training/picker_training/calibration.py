"""Calibration: detection in annotated volumes as the runtime does it, and the choice of picks that is best there."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picker_runtime.card import ModelCard
from picker_runtime.detections import Detections
from picker_runtime.engines.base import Engine
from picker_runtime.geometry import Triple
from picker_runtime.nms import pick
from picker_runtime.scanning import Scanner
from picker_runtime.tomogram import Tomogram
from picker_training.datasets.annotated import AnnotatedVolume
from picker_training.evaluation.distance import match

THRESHOLD_GRID: NDArray[np.float64] = np.round(np.arange(0.06, 0.99, 0.01), 2)
SWEEPS = 4
START = 0.25

TIE = 1e-9
"""Values of the objective that differ by less differ by rounding."""


def candidates_of(
    engine: Engine, card: ModelCard, scene: AnnotatedVolume, *, halo: int | None = None, tile: Triple | None = None
) -> Detections:
    """Return the rounded candidates of a scene, as the runtime finds them, where its particles are known."""
    scanner = Scanner(engine=engine, card=card, tile=tile, halo=card.halo if halo is None else halo)
    with Tomogram.from_array(scene.volume, scene.voxel_size) as tomogram:
        candidates = scanner.scan(tomogram, intensity=scene.intensity).candidates
    return candidates.select(scene.judges(candidates.positions))


def picks_of(
    candidates: Detections, card: ModelCard, voxel_size: float, thresholds: NDArray[np.float64] | None = None
) -> Detections:
    """Return the picks at these thresholds, `(classes,) float64`; None for the card's."""
    if thresholds is None:
        thresholds = np.array([particle.threshold for particle in card.classes])
    return pick(candidates, thresholds=thresholds, fraction=card.nms_fraction, voxel_size=voxel_size)


@dataclass(frozen=True, kw_only=True)
class JudgedPicks:
    """All picks of one scene above the floor, judged by the `distance` rule.

    hit: matched to a particle. right: matched to one of its own class. truths: particles by class, `(classes,)`.
    """

    scores: NDArray[np.float64]
    class_ids: NDArray[np.int32]
    hit: NDArray[np.bool_]
    right: NDArray[np.bool_]
    truths: NDArray[np.intp]


def judge(candidates: Detections, card: ModelCard, scene: AnnotatedVolume) -> JudgedPicks:
    """Match a scene's picks at the floor with its truth."""
    floor = np.full(len(card.classes), card.candidate_floor)
    picks = picks_of(candidates, card, scene.voxel_size, floor)
    radii = radii_voxels(card, scene.voxel_size)[scene.class_ids]
    hit, right = hits(picks, scene.positions, scene.class_ids, radii)
    return JudgedPicks(
        scores=picks.scores,
        class_ids=picks.class_ids,
        hit=hit,
        right=right,
        truths=np.bincount(scene.class_ids, minlength=len(card.classes)),
    )


def radii_voxels(card: ModelCard, voxel_size: float) -> NDArray[np.float64]:
    """Return half of each class's diameter, `(classes,)`, in voxels of this size in angstrom."""
    return np.array([particle.diameter_angstrom / voxel_size / 2 for particle in card.classes])


def hits(
    picks: Detections, positions: NDArray[np.float64], class_ids: NDArray[np.integer[Any]], radii: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell which picks are matched to a particle by the rule `distance`, and which of them to one of their own class.

    positions: `(m, 3) float64, zyx, voxels`, of the particles; class_ids and radii, in voxels, `(m,)`.
    """
    taken = match(picks.positions, picks.scores, positions, radii)
    hit = taken >= 0
    right = hit.copy()
    right[hit] = class_ids[taken[hit]] == picks.class_ids[hit]
    return hit, right


def shared(picks: Detections, others: Detections, radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far picks lie from the others they share a particle and a class with, in voxels, one for each pair.

    radii: of the classes, `(classes,)`, in voxels; as the rule `distance` matches picks with particles.
    """
    taken = match(picks.positions, picks.scores, others.positions, radii[others.class_ids])
    hit = np.flatnonzero(taken >= 0)
    same = hit[picks.class_ids[hit] == others.class_ids[taken[hit]]]
    distances: NDArray[np.float64] = np.linalg.norm(picks.positions[same] - others.positions[taken[same]], axis=1)
    return distances


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How much two detections of the same tomograms have in common.

    pick_f1: 2 x shared / all picks of both. median_shift_voxels: of the shared ones; None without any.
    """

    pick_f1: float
    median_shift_voxels: float | None


def compare_picks(pairs: Iterable[tuple[Detections, Detections, NDArray[np.float64]]]) -> Agreement:
    """Compare picks with others, tomogram by tomogram; with each pair the radii that `shared` takes."""
    picks, distances = 0, [np.zeros(0)]
    for ours, others, radii in pairs:
        picks += len(ours) + len(others)
        distances.append(shared(ours, others, radii))
    shifts = np.concatenate(distances)
    return Agreement(
        pick_f1=2.0 * len(shifts) / picks if picks else 1.0,
        median_shift_voxels=float(np.median(shifts)) if len(shifts) else None,
    )


def calibrated(
    card: ModelCard,
    found: Sequence[Detections],
    scenes: Sequence[AnnotatedVolume],
    *,
    fractions: Sequence[float],
    beta: float = 1.0,
) -> ModelCard:
    """Return the card with the NMS fraction and the thresholds that judge best in scenes with these candidates.

    fractions: to choose from, rising; the first of those that are equally good. beta: as `choose_thresholds`.
    """
    best, most = card, -math.inf
    for fraction in fractions:
        tried = replace(card, nms_fraction=fraction)
        judged = [judge(candidates, tried, scene) for candidates, scene in zip(found, scenes, strict=True)]
        thresholds, value = choose_thresholds(judged, len(card.classes), beta=beta)
        if value > most:
            classes = (replace(c, threshold=float(t)) for c, t in zip(card.classes, thresholds, strict=True))
            best, most = replace(tried, classes=tuple(classes)), value
    return best


def choose_thresholds(
    judged: Sequence[JudgedPicks], classes: int, *, beta: float = 1.0
) -> tuple[NDArray[np.float64], float]:
    """Return thresholds `(classes,)` with the best sum of localisation F and mean class F, and it.

    F counts the picks and particles of all scenes together: those of a part without particles are false, too.
    One class at a time over a grid, a few sweeps through all of them; of equally good ones the middle. A class that
    has no particle in any scene gets the median of the others' thresholds.
    beta: so many times as much as precision recall counts in F: 1 for F1, 4 to miss little.
    """
    counts = np.sum([_counts(scene, classes) for scene in judged], axis=0)  # (3, classes, grid): picks, hits, right
    truths = np.sum([scene.truths for scene in judged], axis=0)
    chosen = np.full(classes, int(np.searchsorted(THRESHOLD_GRID, START)))
    seen = truths > 0
    value = 0.0
    for _ in range(SWEEPS):
        for c in np.flatnonzero(seen).tolist():
            values = _objective(counts, truths, chosen, c, beta)
            chosen[c] = middle_of_best(values)
            value = float(values[chosen[c]])
    if seen.any():
        chosen[~seen] = int(np.median(chosen[seen]))
    return THRESHOLD_GRID[chosen], value


def middle_of_best(values: NDArray[np.float64]) -> int:
    """Return the middle of the first run of values that are the greatest: the furthest from what would be worse."""
    best = values >= values.max() - TIE
    first = int(np.argmax(best))
    length = int(np.argmin(best[first:])) or len(values) - first
    return first + (length - 1) // 2


def _counts(scene: JudgedPicks, classes: int) -> NDArray[np.float64]:
    above = scene.scores[:, None] >= THRESHOLD_GRID  # (n, grid)
    member = scene.class_ids[:, None] == np.arange(classes)  # (n, classes)
    flags = np.stack([np.ones(len(scene.scores), bool), scene.hit, scene.right])
    counts: NDArray[np.float64] = np.einsum(
        "fn,nc,ng->fcg", flags.astype(float), member.astype(float), above.astype(float), optimize=True
    )
    return counts


def _objective(
    counts: NDArray[np.float64], truths: NDArray[np.intp], chosen: NDArray[np.intp], c: int, beta: float
) -> NDArray[np.float64]:
    """Return the objective for every threshold of class c while the others stay as chosen."""
    now = counts[:, np.arange(len(chosen)), chosen]  # (3, classes)
    now[:, c] = 0.0
    picks = now[0].sum() + counts[0, c]
    hits = now[1].sum() + counts[1, c]
    localisation = f_measure(hits, picks, truths.sum(), beta)
    own = f_measure(counts[2, c], counts[0, c], truths[c], beta)
    others = f_measure(now[2], now[0], truths, beta).sum()
    objective: NDArray[np.float64] = localisation + (own + others) / len(chosen)
    return objective


def f_measure(right: Any, picks: Any, truths: Any, beta: float = 1.0) -> Any:
    """Return F-beta, (1 + beta^2) TP / (TP + FP + beta^2 (TP + FN)); 0 where there is nothing."""
    squared = beta * beta
    return (1.0 + squared) * right / np.maximum(picks + squared * truths, 1e-9)

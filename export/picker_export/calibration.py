"""Calibration: what the export measures before a model may ship: BatchNorm, thresholds and the halo."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from picker_runtime import tiling
from picker_runtime.card import ModelCard
from picker_runtime.detections import Detections
from picker_runtime.engines.base import Engine
from picker_runtime.geometry import Triple
from picker_runtime.intensity import NormalisedSource, measure
from picker_runtime.nms import pick
from picker_runtime.tomogram import Tomogram
from picker_runtime.worker import Limits, find_candidates
from picker_training.evaluation.distance import match
from picker_training.loading import Batch
from picker_training.model_card import tile_for

THRESHOLD_GRID: NDArray[np.float64] = np.round(np.arange(0.06, 0.90, 0.01), 2)
SWEEPS = 4
HALOS = (0, 8, 16, 24, 32, 40)
WHOLE_HALO = 32
SAME_DISTANCE_VOXELS = 0.5
WANTED_AGREEMENT = 0.995


@dataclass(frozen=True, kw_only=True)
class CalibrationScene:
    """A simulated tomogram with its truth, for choosing thresholds and the halo; never used for training or tests.

    volume: `(d, h, w) float32`. positions: `(n, 3) float64, zyx, voxels`. class_ids: `(n,) int32`.
    """

    volume: NDArray[np.float32]
    voxel_size: float
    positions: NDArray[np.float64]
    class_ids: NDArray[np.int32]


def reestimate_batch_norm(network: nn.Module, batches: Iterator[Batch]) -> None:
    """Replace the running statistics of every BatchNorm by plain averages over batches of uniformly placed crops."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm3d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
    network.train()
    with torch.no_grad():
        for batch in batches:
            network(batch.cubes)
    network.eval()


def candidates_of(
    engine: Engine, card: ModelCard, scene: CalibrationScene, *, halo: int | None = None, tile: Triple | None = None
) -> Detections:
    """Return the rounded candidates of a scene, as the runtime finds them."""
    tomogram = Tomogram.from_array(scene.volume, scene.voxel_size)
    grid: dict[str, Any] = {
        "halo": card.halo if halo is None else halo,
        "alignment": card.alignment,
        "output_stride": card.output_stride,
        "min_cells": card.max_candidates,
    }
    found = find_candidates(
        engine,
        NormalisedSource(tomogram, measure(tomogram)),
        tiling.plan(tomogram.shape, tile=tile or card.tile, **grid),
        limits=Limits.of(card),
        split=partial(tiling.split, **grid),
    )
    return found.candidates.rounded().by_score()


def picks_of(candidates: Detections, card: ModelCard, voxel_size: float, thresholds: NDArray[np.float64]) -> Detections:
    """Return the picks at these thresholds, `(classes,) float64`."""
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


def judge(candidates: Detections, card: ModelCard, scene: CalibrationScene) -> JudgedPicks:
    """Match a scene's picks at the floor with its truth."""
    floor = np.full(len(card.classes), card.candidate_floor)
    picks = picks_of(candidates, card, scene.voxel_size, floor)
    radii = np.array([c.diameter_angstrom / scene.voxel_size / 2 for c in card.classes])[scene.class_ids]
    taken = match(picks.positions, picks.scores, scene.positions, radii)
    hit = taken >= 0
    right = hit & (scene.class_ids[np.maximum(taken, 0)] == picks.class_ids) if len(scene.class_ids) else hit
    return JudgedPicks(
        scores=picks.scores,
        class_ids=picks.class_ids,
        hit=hit,
        right=right,
        truths=np.bincount(scene.class_ids, minlength=len(card.classes)),
    )


def choose_thresholds(judged: list[JudgedPicks], classes: int) -> NDArray[np.float64]:
    """Return the thresholds `(classes,)` with the best mean of localisation F1 and mean class F1 over the scenes.

    One class at a time over a grid, a few sweeps through all of them.
    """
    counts = [_counts(scene, classes) for scene in judged]  # each (3, classes, grid): picks, hits, right
    chosen = np.full(classes, int(np.searchsorted(THRESHOLD_GRID, 0.25)))
    for _ in range(SWEEPS):
        for c in range(classes):
            chosen[c] = int(np.argmax(_objective(judged, counts, chosen, c)))
    thresholds: NDArray[np.float64] = THRESHOLD_GRID[chosen]
    return thresholds


def _counts(scene: JudgedPicks, classes: int) -> NDArray[np.float64]:
    above = scene.scores[:, None] >= THRESHOLD_GRID  # (n, grid)
    member = scene.class_ids[:, None] == np.arange(classes)  # (n, classes)
    flags = np.stack([np.ones(len(scene.scores), bool), scene.hit, scene.right])
    counts: NDArray[np.float64] = np.einsum(
        "fn,nc,ng->fcg", flags.astype(float), member.astype(float), above.astype(float), optimize=True
    )
    return counts


def _objective(
    judged: list[JudgedPicks], counts: list[NDArray[np.float64]], chosen: NDArray[np.intp], c: int
) -> NDArray[np.float64]:
    """Return the objective for every threshold of class c while the others stay as chosen."""
    total = np.zeros(len(THRESHOLD_GRID))
    classes = np.arange(len(chosen))
    for scene, count in zip(judged, counts, strict=True):
        now = count[:, classes, chosen].copy()  # (3, classes)
        now[:, c] = 0.0
        picks = now[0].sum() + count[0, c]
        hits = now[1].sum() + count[1, c]
        localisation = 2.0 * hits / np.maximum(picks + scene.truths.sum(), 1.0)
        own = 2.0 * count[2, c] / np.maximum(count[0, c] + scene.truths[c], 1.0)
        total += localisation + own / len(chosen)
    return total


def measure_halo(
    engine: Engine, card: ModelCard, scenes: list[CalibrationScene], thresholds: NDArray[np.float64]
) -> tuple[int, dict[str, float]]:
    """Return the smallest halo whose picks agree well enough with whole-volume inference, and the whole curve.

    Agreement: the share of picks that have a partner within half a voxel and of the same class, over both lists.
    """
    curve: dict[int, list[float]] = {halo: [] for halo in HALOS}
    for scene in scenes:
        whole_tile = _aligned([n + 2 * WHOLE_HALO for n in scene.volume.shape], card.alignment)
        whole = candidates_of(engine, card, scene, halo=WHOLE_HALO, tile=whole_tile)
        reference = picks_of(whole, card, scene.voxel_size, thresholds)
        for halo in HALOS:
            depth, edge, _ = tile_for(halo)  # short along x too: more seams than in use
            tiled = candidates_of(engine, card, scene, halo=halo, tile=(depth, edge, edge))
            found = picks_of(tiled, card, scene.voxel_size, thresholds)
            curve[halo].append(agreement(found, reference))
    mean = {halo: float(np.mean(values)) for halo, values in curve.items()}
    good = [halo for halo in HALOS if mean[halo] >= WANTED_AGREEMENT]
    return min(good) if good else max(HALOS), {str(halo): round(value, 5) for halo, value in mean.items()}


def agreement(a: Detections, b: Detections) -> float:
    """Return the share of both lists' picks that have a partner of their class within half a voxel in the other."""
    if len(a) + len(b) == 0:
        return 1.0
    same = 0
    for class_id in np.union1d(a.class_ids, b.class_ids):
        mine, theirs = a.positions[a.class_ids == class_id], b.positions[b.class_ids == class_id]
        if len(mine) and len(theirs):
            distances = np.linalg.norm(mine[:, None] - theirs[None], axis=-1)
            same += int((distances.min(axis=1) <= SAME_DISTANCE_VOXELS).sum())
            same += int((distances.min(axis=0) <= SAME_DISTANCE_VOXELS).sum())
    return same / (len(a) + len(b))


def with_calibration(card: ModelCard, thresholds: NDArray[np.float64], halo: int, curve: dict[str, float]) -> ModelCard:
    """Return the card with measured thresholds and halo, and the tile that goes with it."""
    classes = tuple(
        replace(particle, threshold=float(threshold))
        for particle, threshold in zip(card.classes, thresholds, strict=True)
    )
    return replace(card, classes=classes, halo=halo, halo_curve=curve, tile=tile_for(halo))


def _aligned(edges: list[int], alignment: int) -> Triple:
    z, y, x = (-(-edge // alignment) * alignment for edge in edges)
    return z, y, x

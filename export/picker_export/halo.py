"""The halo: how far a network has to see beyond a core, measured."""

import numpy as np

from picker_runtime.card import ModelCard
from picker_runtime.detections import Detections
from picker_runtime.engines.base import Engine
from picker_runtime.geometry import Triple
from picker_training.calibration import candidates_of, picks_of
from picker_training.datasets.annotated import AnnotatedVolume
from picker_training.model_card import DRAFT_HALO

HALOS = (0, 8, 16, 24, 32, 40)
WHOLE_HALO = 32
SAME_DISTANCE_VOXELS = 0.5
WANTED_AGREEMENT = 0.995
ENOUGH_PICKS = 200
"""Of so many picks one may differ; fewer agree all too often by chance, and none always do."""
SAFE_HALO = DRAFT_HALO
"""Voxels; with fewer picks the halo is no smaller."""


def measure_halo(engine: Engine, card: ModelCard, scenes: list[AnnotatedVolume]) -> tuple[int, dict[str, float], int]:
    """Return the smallest halo whose picks agree well with whole-volume inference, the whole curve, and their number.

    Agreement: the share of picks that have a partner within half a voxel and of the same class, over both lists. Where
    whole-volume inference finds fewer than `ENOUGH_PICKS`, the halo is `SAFE_HALO` or more, whatever the curve says.
    """
    compared = 0
    curve: dict[int, list[float]] = {halo: [] for halo in HALOS}
    for scene in scenes:
        whole_tile = _aligned([n + 2 * WHOLE_HALO for n in scene.volume.shape], card.alignment)
        whole = candidates_of(engine, card, scene, halo=WHOLE_HALO, tile=whole_tile)
        reference = picks_of(whole, card, scene.voxel_size)
        compared += len(reference)
        for halo in HALOS:
            tile = _with_seams(scene.volume.shape, _with_halo(card, halo), halo, card.alignment)
            tiled = candidates_of(engine, card, scene, halo=halo, tile=tile)
            found = picks_of(tiled, card, scene.voxel_size)
            curve[halo].append(agreement(found, reference))
    mean = {halo: float(np.mean(values)) for halo, values in curve.items()}
    good = [halo for halo in HALOS if mean[halo] >= WANTED_AGREEMENT]
    measured = min(good) if good else max(HALOS)
    chosen = measured if compared >= ENOUGH_PICKS else max(measured, SAFE_HALO)
    return chosen, {str(halo): round(value, 5) for halo, value in mean.items()}, compared


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


def _with_halo(card: ModelCard, halo: int) -> Triple:
    """Return the card's tile with another halo around the same core."""
    z, y, x = (edge + 2 * (halo - card.halo) for edge in card.tile)
    return z, y, x


def _with_seams(shape: tuple[int, ...], tile: Triple, halo: int, alignment: int) -> Triple:
    """Return the tile, short along x too, or two across an axis of the scene that one would cover: more seams."""
    depth, edge, _ = tile
    halves = [-(-n // (2 * alignment)) * alignment + 2 * halo for n in shape]
    height, width = (
        half if n + 2 * alignment <= edge else edge for n, half in list(zip(shape, halves, strict=True))[1:]
    )
    return depth, height, width


def _aligned(edges: list[int], alignment: int) -> Triple:
    z, y, x = (-(-edge // alignment) * alignment for edge in edges)
    return z, y, x

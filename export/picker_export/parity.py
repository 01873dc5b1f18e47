"""Parity: the same cubes through PyTorch and through an engine, compared on tensors and on picks."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picker_export.halo import agreement
from picker_runtime.bundle import Bundle
from picker_runtime.card import ModelCard
from picker_runtime.engines import ENGINES, open_engine
from picker_runtime.engines.base import Engine
from picker_runtime.geometry import Box
from picker_runtime.sample import SAMPLES
from picker_runtime.tomogram import Tomogram
from picker_training.calibration import candidates_of, picks_of
from picker_training.datasets.annotated import AnnotatedVolume
from picker_training.model_card import decoded, load_network
from picker_training.torch_engine import TorchEngine

SCORE_TOLERANCE = 1e-4
"""Largest difference of a score between float32 engines."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far an engine is from the reference over some scenes.

    max_score_difference: over candidates paired by cell. missing: candidates without a partner within half a voxel.
    pick_agreement: share of picks with a partner, over both lists.
    """

    engine: str
    reference: str
    candidates: int
    max_score_difference: float
    max_position_difference_voxels: float
    missing: int
    pick_agreement: float

    @property
    def passed(self) -> bool:
        """Whether scores agree within the tolerance and no pick differs."""
        return self.max_score_difference <= SCORE_TOLERANCE and self.pick_agreement == 1.0

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self) | {"passed": self.passed}


def report_parity(bundle: Bundle, scenes: list[AnnotatedVolume]) -> list[Parity]:
    """Compare every CPU engine on a bundle's graph with its weights in PyTorch."""
    reports = []
    with TorchEngine(decoded(load_network(bundle), bundle.card)) as reference:
        for name in ENGINES:
            with open_engine(name, bundle.graph) as engine:
                reports.append(compare(reference, engine, bundle.card, scenes))
    return reports


def scene_from_file(path: Path | None) -> AnnotatedVolume:
    """Return a tomogram, by default the packaged sample, as a scene without truth."""
    with Tomogram.open(path or next(iter(sorted(SAMPLES.glob("*.mrc"))))) as tomogram:
        return AnnotatedVolume(
            volume=tomogram.read(Box.whole(tomogram.shape)),
            voxel_size=tomogram.voxel_size,
            positions=np.zeros((0, 3)),
            class_ids=np.zeros(0, np.int32),
        )


def compare(reference: Engine, engine: Engine, card: ModelCard, scenes: list[AnnotatedVolume]) -> Parity:
    """Run both engines over the scenes and compare what they find."""
    scores, positions, agreements = [0.0], [0.0], []
    missing = total = 0
    for scene in scenes:
        a, b = (candidates_of(e, card, scene) for e in (reference, engine))
        total += len(a)
        near, distance = _partners(a.positions, b.positions)
        paired = distance <= 0.5
        missing += int((~paired).sum()) + abs(len(a) - len(b))
        if paired.any():
            scores.append(float(np.abs(a.scores[paired] - b.scores[near[paired]]).max()))
            positions.append(float(distance[paired].max()))
        agreements.append(agreement(*(picks_of(x, card, scene.voxel_size) for x in (a, b))))
    return Parity(
        engine=engine.name,
        reference=reference.name,
        candidates=total,
        max_score_difference=max(scores),
        max_position_difference_voxels=max(positions),
        missing=missing,
        pick_agreement=float(np.mean(agreements)),
    )


def _partners(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return for each point of `a` its nearest in `b` and their distance."""
    if len(a) == 0 or len(b) == 0:
        return np.zeros(len(a), np.intp), np.full(len(a), np.inf)
    distances = np.sqrt(np.maximum(((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2.0 * a @ b.T), 0.0))
    near = distances.argmin(axis=1)
    return near, np.linalg.norm(a - b[near], axis=1)

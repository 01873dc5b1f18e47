"""Judgements: counted by hand on picks that are placed by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from picker_export.judging import Judgement, judge_precision
from picker_runtime.bundle import Bundle
from picker_runtime.card import ModelCard
from picker_runtime.detections import Detections
from picker_runtime.engines.base import Candidates, FakeEngine
from picker_training.datasets.annotated import AnnotatedVolume

TRUTHS = np.array([[8.0, 8, 8], [8, 8, 24], [8, 24, 8], [24, 24, 24]])
CLASSES = np.array([0, 0, 1, 1], np.int32)
SHAPE = (32, 32, 32)


@pytest.fixture
def card(golden_model: Path) -> ModelCard:
    """Two classes, 5 and 8 voxels across."""
    return replace(Bundle.open(golden_model).card, tile=SHAPE, halo=0)


@pytest.fixture
def scene() -> AnnotatedVolume:
    volume = np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)
    return AnnotatedVolume(volume=volume, voxel_size=10.0, positions=TRUTHS, class_ids=CLASSES)


def found(positions: np.ndarray, class_ids: np.ndarray, score: float = 0.9) -> Detections:
    n = len(positions)
    return Detections(
        positions=positions, diameters=np.full(n, 50.0), scores=np.full(n, score), class_ids=class_ids.astype(np.int32)
    )


def engine(positions: np.ndarray, class_ids: np.ndarray) -> FakeEngine:
    """Return an engine that finds this in its one tile."""
    n = len(positions)
    return FakeEngine(
        lambda cube: Candidates(
            centers=positions.astype(np.float32), diameters=np.full(n, 5, np.float32),
            scores=np.full(n, 0.9, np.float32), class_ids=class_ids.astype(np.int32),
        )
    )  # fmt: skip


def judged(positions: np.ndarray, class_ids: np.ndarray, card: ModelCard, scene: AnnotatedVolume) -> Judgement:
    """Judge picks against float32 picks that are all right."""
    return judge_precision("int8", engine(positions, class_ids), [found(TRUTHS, CLASSES)], card, [scene])


def test_the_same_picks_lose_nothing(card: ModelCard, scene: AnnotatedVolume) -> None:
    judgement = judged(TRUTHS, CLASSES, card, scene)
    assert (judgement.f1, judgement.class_f1, judgement.pick_f1, judgement.median_shift_voxels) == (1, 1, 1, 0)
    assert judgement.passed
    assert judgement.to_json()["passed"] is True


def test_a_shift_is_measured_where_picks_are_shared(card: ModelCard, scene: AnnotatedVolume) -> None:
    judgement = judged(TRUTHS + np.array([0, 0, 0.5]), CLASSES, card, scene)
    assert judgement.median_shift_voxels == pytest.approx(0.5)
    assert judgement.pick_f1 == judgement.f1 == 1


def test_a_wrong_class_costs_class_f1_alone(card: ModelCard, scene: AnnotatedVolume) -> None:
    judgement = judged(TRUTHS, np.array([0, 0, 1, 0]), card, scene)
    assert judgement.f1 == 1
    assert judgement.class_f1 == pytest.approx((2 * 2 / (3 + 2) + 2 * 1 / (1 + 2)) / 2)
    assert judgement.pick_f1 == pytest.approx(2 * 3 / 8)
    assert not judgement.passed


def test_a_missing_pick_costs_both(card: ModelCard, scene: AnnotatedVolume) -> None:
    judgement = judged(TRUTHS[:3], CLASSES[:3], card, scene)
    assert judgement.f1 == pytest.approx(2 * 3 / 7)
    assert judgement.class_f1 == pytest.approx((1 + 2 / 3) / 2)
    assert (judgement.float32_f1, judgement.float32_class_f1) == (1, 1)
    assert not judgement.passed


def test_nothing_found_by_either_is_agreement(card: ModelCard, scene: AnnotatedVolume) -> None:
    nothing = np.zeros((0, 3)), np.zeros(0)
    judgement = judge_precision("fp16", engine(*nothing), [found(*nothing)], card, [scene])
    assert (judgement.pick_f1, judgement.median_shift_voxels, judgement.passed) == (1.0, None, True)


@pytest.mark.parametrize(("f1", "class_f1", "passed"), [(0.9, 0.8, True), (0.889, 0.8, False), (0.9, 0.789, False)])
def test_a_hundredth_may_be_lost(f1: float, class_f1: float, passed: bool) -> None:
    judgement = Judgement(
        precision="int8", f1=f1, class_f1=class_f1, float32_f1=0.9, float32_class_f1=0.799, pick_f1=1.0,
        median_shift_voxels=0.0,
    )  # fmt: skip
    assert judgement.passed is passed

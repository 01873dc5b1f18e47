from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden.blob_graph import volume_with_blobs
from numpy.typing import NDArray

from picker_export.parity import SCORE_TOLERANCE, Parity, compare, scene_from_file
from picker_runtime.bundle import Bundle
from picker_runtime.card import ModelCard
from picker_runtime.engines.base import Candidates, FakeEngine
from picker_runtime.mrc import write_mrc
from picker_training.datasets.annotated import AnnotatedVolume

SHAPE = (24, 24, 24)
PLACES = np.array([[6.0, 6, 6], [6, 18, 18], [18, 6, 18]])


@pytest.fixture
def card(golden_model: Path) -> ModelCard:
    return Bundle.open(golden_model).card


@pytest.fixture
def scene() -> AnnotatedVolume:
    return AnnotatedVolume(
        volume=volume_with_blobs(SHAPE, PLACES), voxel_size=10.0, positions=PLACES, class_ids=np.zeros(3, np.int32)
    )


def engine(change: Callable[[Candidates], Candidates] = lambda candidates: candidates) -> FakeEngine:
    """Return an engine that finds three particles at fixed places of its one cube, then changes what it found."""

    def find(cube: NDArray[np.float32]) -> Candidates:
        return change(
            Candidates(
                centers=(PLACES + (np.array(cube.shape) - 24) // 2).astype(np.float32),
                diameters=np.full(3, 5.0, np.float32),
                scores=np.array([0.9, 0.6, 0.3], np.float32),
                class_ids=np.zeros(3, np.int32),
            )
        )

    return FakeEngine(find)


def test_equal_engines_pass(card: ModelCard, scene: AnnotatedVolume) -> None:
    report = compare(engine(), engine(), card, [scene, scene])
    assert report.passed
    assert report.candidates == 6
    assert (report.max_score_difference, report.max_position_difference_voxels, report.missing) == (0.0, 0.0, 0)
    assert report.to_json()["passed"] is True


def test_a_score_that_differs_is_measured(card: ModelCard, scene: AnnotatedVolume) -> None:
    other = engine(lambda found: replace(found, scores=found.scores - np.array([0.0, 0.0, 0.001], np.float32)))
    report = compare(engine(), other, card, [scene])
    assert report.max_score_difference == pytest.approx(0.001, abs=2e-6)
    assert not report.passed


def test_a_place_that_differs_is_measured(card: ModelCard, scene: AnnotatedVolume) -> None:
    other = engine(lambda found: replace(found, centers=found.centers + np.array([0.0, 0.3, 0.0], np.float32)))
    report = compare(engine(), other, card, [scene])
    assert report.max_position_difference_voxels == pytest.approx(0.3, abs=1e-3)
    assert report.missing == 0


def test_a_pick_that_is_absent_fails(card: ModelCard, scene: AnnotatedVolume) -> None:
    other = engine(lambda found: Candidates(**{k: v[:2] for k, v in vars(found).items()}))
    for pair in ((engine(), other), (other, engine())):
        report = compare(*pair, card, [scene])
        assert report.missing > 0
        assert report.pick_agreement == pytest.approx(4 / 5)
        assert not report.passed


def test_an_engine_that_finds_nothing_is_compared_too(card: ModelCard, scene: AnnotatedVolume) -> None:
    report = compare(engine(), engine(lambda found: Candidates.empty()), card, [scene])
    assert (report.missing, report.pick_agreement, report.passed) == (6, 0.0, False)


@pytest.mark.parametrize(("difference", "passed"), [(0.5 * SCORE_TOLERANCE, True), (2 * SCORE_TOLERANCE, False)])
def test_the_tolerance(difference: float, passed: bool) -> None:
    report = Parity(
        engine="a", reference="b", candidates=1, max_score_difference=difference, max_position_difference_voxels=0.0,
        missing=0, pick_agreement=1.0,
    )  # fmt: skip
    assert report.passed is passed


def test_a_tomogram_serves_as_a_scene(tmp_path: Path) -> None:
    volume = volume_with_blobs(SHAPE, PLACES)
    write_mrc(tmp_path / "one.mrc", volume, 8.0)
    scene = scene_from_file(tmp_path / "one.mrc")
    assert np.array_equal(scene.volume, volume)
    assert scene.voxel_size == 8.0
    assert len(scene.positions) == len(scene.class_ids) == 0

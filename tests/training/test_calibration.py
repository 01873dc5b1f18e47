from itertools import product
from pathlib import Path

import numpy as np
import pytest
from golden.rows import detections

from picker_runtime.bundle import Bundle
from picker_training.calibration import (
    THRESHOLD_GRID,
    JudgedPicks,
    calibrated,
    choose_thresholds,
    judge,
    middle_of_best,
)
from picker_training.datasets.annotated import AnnotatedVolume
from picker_training.detectors.base import Detector

FRACTIONS = Detector.nms_fractions


def judged(rows: list[tuple[float, int, bool, bool]], truths: list[int]) -> JudgedPicks:
    """Return a judged scene from rows of score, class, hit and right."""
    scores, class_ids, hit, right = zip(*rows, strict=True)
    return JudgedPicks(
        scores=np.array(scores), class_ids=np.array(class_ids, np.int32), hit=np.array(hit), right=np.array(right),
        truths=np.array(truths),
    )  # fmt: skip


def f_beta(tp: float, picks: float, truths: float, beta: float) -> float:
    """Return the weighted harmonic mean of precision and recall, as van Rijsbergen has it."""
    if tp == 0:
        return 0.0
    precision, recall = tp / picks, tp / truths
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)


def objective(scene: JudgedPicks, thresholds: np.ndarray, beta: float) -> float:
    """Return localisation F plus mean class F at given thresholds, counted one by one."""
    kept = scene.scores >= thresholds[scene.class_ids]
    classes = [
        f_beta(scene.right[kept & (scene.class_ids == c)].sum(), (kept & (scene.class_ids == c)).sum(), n, beta)
        for c, n in enumerate(scene.truths)
    ]
    return f_beta(scene.hit[kept].sum(), kept.sum(), scene.truths.sum(), beta) + float(np.mean(classes))


def test_thresholds_cut_off_what_is_wrong() -> None:
    sure = [(0.7 + 0.02 * i, 0, True, True) for i in range(8)]
    false = [(0.30 + 0.02 * i, 0, False, False) for i in range(8)]
    timid = [(0.10 + 0.05 * i, 1, True, True) for i in range(8)]
    thresholds, _ = choose_thresholds([judged(sure + false + timid, [8, 8])], 2)
    assert 0.44 < thresholds[0] <= 0.7
    assert thresholds[1] <= 0.1


@pytest.mark.parametrize(
    ("values", "middle"),
    [([3, 1, 2], 0), ([1, 2, 3], 2), ([5, 5, 5], 1), ([0, 4, 4, 4, 1, 4], 2), ([1, 7, 7], 1), ([4, 4, 0, 4, 4, 4], 0)],
)
def test_the_middle_of_the_first_run_of_the_best(values: list[int], middle: int) -> None:
    assert middle_of_best(np.array(values, float)) == middle
    assert middle_of_best(np.array(values) / 3.0 + 1e-12 * np.arange(len(values))) == middle


def test_of_equally_good_thresholds_the_middle_one_is_chosen() -> None:
    """Nothing lies between the false picks at 0.20 and the true ones at 0.60: any threshold there does as well."""
    rows = [(0.60, 0, True, True)] * 8 + [(0.20, 0, False, False)] * 8
    assert choose_thresholds([judged(rows, [8])], 1)[0][0] == pytest.approx(0.40, abs=0.01)


def test_picks_in_the_right_place_but_of_the_wrong_class_are_weighed() -> None:
    """Keeping the second half would raise the localisation F1 from 0.67 to 0.70, but lower the class F1 by a third."""
    right = [(0.7, 0, True, True)] * 10
    confused = [(0.3, 0, number < 4, False) for number in range(10)]
    assert choose_thresholds([judged(right + confused, [10, 10])], 2)[0][0] > 0.3


@pytest.mark.parametrize("beta", [0.5, 1.0, 4.0])
def test_thresholds_are_the_best_there_are(beta: float) -> None:
    rng = np.random.default_rng(0)
    rows = [
        (float(score), int(class_id), bool(hit), bool(hit and rng.random() < score**2))  # unsure of the class above all
        for score, class_id, hit in zip(
            rng.uniform(0.05, 0.95, 60), rng.integers(0, 2, 60), rng.random(60) < 0.8, strict=True
        )
    ]
    scene = judged(rows, [25, 15])
    thresholds, value = choose_thresholds([scene], 2, beta=beta)
    found = objective(scene, thresholds, beta)
    assert value == pytest.approx(found)
    best = max(objective(scene, np.array(pair), beta) for pair in product(THRESHOLD_GRID[::2], repeat=2))
    assert found >= best - 1e-9


def test_a_larger_beta_keeps_what_is_doubtful(golden_model: Path) -> None:
    scene = scene_with((10, 10, 10), (10, 10, 90))
    false = [(60, 60, 20 * number, 0.3, 0) for number in range(4)]
    found = detections([(10, 10, 10, 0.9, 0), *false, (10, 10, 90, 0.2, 0)])
    card = Bundle.open(golden_model).card
    strict, patient = (
        calibrated(card, [found], [scene], fractions=FRACTIONS, beta=beta).classes[0].threshold for beta in (1.0, 4.0)
    )
    assert strict > 0.3
    assert patient <= 0.2


def test_every_scene_counts() -> None:
    one = judged([(0.5, 0, True, True), (0.4, 0, False, False)] * 5, [5])
    other = judged([(0.3, 0, True, True), (0.2, 0, False, False)] * 5, [5])
    assert 0.4 < choose_thresholds([one], 1)[0][0] <= 0.5
    assert 0.2 < choose_thresholds([other], 1)[0][0] <= 0.3
    assert 0.2 < choose_thresholds([one, other, other], 1)[0][0] <= 0.3


def test_false_picks_in_a_part_without_particles_count() -> None:
    crowded = judged([(0.5, 0, True, True)] * 5, [5])
    empty = judged([(0.4, 0, False, False)] * 10, [0])
    assert 0.4 < choose_thresholds([crowded, empty], 1)[0][0] <= 0.5


def test_a_scene_without_picks_keeps_a_threshold_of_the_grid() -> None:
    empty = JudgedPicks(
        scores=np.zeros(0), class_ids=np.zeros(0, np.int32), hit=np.zeros(0, bool), right=np.zeros(0, bool),
        truths=np.array([3, 0]),
    )  # fmt: skip
    assert set(choose_thresholds([empty], 2)[0]) <= set(THRESHOLD_GRID)


def test_a_class_that_no_scene_holds_gets_the_median_of_the_others_thresholds() -> None:
    picks = [(0.8, 0, True, True), (0.6, 1, True, True), (0.4, 2, True, True), (0.55, 3, False, False)]
    thresholds, _ = choose_thresholds([judged(picks, [1, 1, 1, 0])], 4)
    others, _ = choose_thresholds([judged(picks[:3], [1, 1, 1])], 3)
    assert thresholds.tolist() == [*others, np.median(others)]


def test_picks_are_judged_by_place_then_class(golden_model: Path) -> None:
    card = Bundle.open(golden_model).card  # classes of 50 and 80 A, thresholds 0.2, floor 0.05
    scene = AnnotatedVolume(
        volume=np.zeros((1, 1, 1), np.float32), voxel_size=10.0,
        positions=np.array([[10.0, 10, 10], [10, 10, 30], [30, 10, 10]]), class_ids=np.array([0, 1, 1], np.int32),
    )  # fmt: skip
    found = detections([(10, 10, 11, 0.9, 0), (10, 10, 30, 0.8, 0), (30, 30, 30, 0.7, 1), (10, 13, 30, 0.04, 1)])
    result = judge(found, card, scene)
    assert result.scores.tolist() == [0.9, 0.8, 0.7]  # the fourth lies below the floor
    assert result.hit.tolist() == [True, True, False]
    assert result.right.tolist() == [True, False, False]
    assert result.truths.tolist() == [1, 2]


def scene_with(*positions: tuple[float, float, float]) -> AnnotatedVolume:
    """Return an empty scene with particles of class 0, whose diameter is 5 voxels."""
    return AnnotatedVolume(
        volume=np.zeros((1, 1, 1), np.float32), voxel_size=10.0, positions=np.array(positions),
        class_ids=np.zeros(len(positions), np.int32),
    )  # fmt: skip


def test_the_fraction_is_the_least_that_leaves_no_doubles(golden_model: Path) -> None:
    scene = scene_with((10, 10, 10), (10, 10, 90))
    found = detections([(10, 10, 10, 0.9, 0), (10, 10, 13.05, 0.8, 0), (10, 10, 90, 0.5, 0), (60, 60, 60, 0.3, 0)])
    card = calibrated(Bundle.open(golden_model).card, [found], [scene], fractions=FRACTIONS)
    assert card.nms_fraction == 0.65  # the second is a double at 0.61
    assert 0.3 < card.classes[0].threshold <= 0.5  # the last is none


def test_particles_that_lie_side_by_side_stay_two(golden_model: Path) -> None:
    scene = scene_with((10, 10, 10), (10, 10, 12.8))  # at 0.56 of their diameter
    found = detections([(10, 10, 10, 0.9, 0), (10, 10, 12.8, 0.8, 0)])
    assert calibrated(Bundle.open(golden_model).card, [found], [scene], fractions=FRACTIONS).nms_fraction == 0.5


def test_every_scene_has_a_say_in_the_fraction(golden_model: Path) -> None:
    doubles = detections([(10, 10, 10, 0.9, 0), (10, 10, 13.35, 0.8, 0), (10, 10, 90, 0.5, 0)])  # at 0.67
    pair = detections([(10, 10, 10, 0.9, 0), (10, 10, 12.8, 0.8, 0)])
    scenes = [scene_with((10, 10, 10), (10, 10, 90))] * 2 + [scene_with((10, 10, 10), (10, 10, 12.8))]
    card = Bundle.open(golden_model).card
    assert calibrated(card, [doubles, doubles, pair], scenes, fractions=FRACTIONS).nms_fraction == 0.7
    assert (
        calibrated(card, [doubles, pair, pair], [scenes[0], scenes[2], scenes[2]], fractions=FRACTIONS).nms_fraction
        == 0.5
    )


def test_a_scene_without_particles_has_only_false_picks(golden_model: Path) -> None:
    scene = AnnotatedVolume(
        volume=np.zeros((1, 1, 1), np.float32), voxel_size=10.0, positions=np.zeros((0, 3)),
        class_ids=np.zeros(0, np.int32),
    )  # fmt: skip
    result = judge(detections([(1, 1, 1, 0.9, 0)]), Bundle.open(golden_model).card, scene)
    assert not result.hit.any()
    assert not result.right.any()
    assert result.truths.tolist() == [0, 0]

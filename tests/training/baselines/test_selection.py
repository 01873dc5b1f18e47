import numpy as np
import pytest

from picker_runtime.detections import Detections
from picker_training.baselines.peaks import Peaks, score_of
from picker_training.baselines.selection import (
    THRESHOLD_HEIGHTS,
    Known,
    candidates_of,
    objective,
    pick_at,
    tune_thresholds,
)

DIAMETERS = np.array([60.0, 100.0])
VOXEL_SIZE = 10.0


def peaks_at(positions: list[tuple[int, int, int]], heights: list[float]) -> Peaks:
    n = len(heights)
    return Peaks(
        positions=np.array(positions).reshape(n, 3),
        heights=np.array(heights),
        values=np.zeros(n),
        orientations=np.full(n, -1),
    )


def known() -> Known:
    """Two particles of each class; class 0 has false peaks at height 5.1, class 1 at 12.1, between its own."""
    small = peaks_at([(0, 0, 10), (0, 0, 30), (0, 50, 10), (0, 50, 30)], [9.1, 6.2, 5.1, 5.1])
    large = peaks_at([(0, 0, 50), (0, 0, 70), (0, 50, 50), (0, 50, 70)], [20.1, 14.6, 12.1, 12.1])
    return Known(
        candidates=candidates_of([small, large], DIAMETERS.tolist()),
        positions=np.array([(0, 0, 10), (0, 0, 30), (0, 0, 50), (0, 0, 70)], np.float64),
        class_ids=np.array([0, 0, 1, 1]),
    )


def score(height: float) -> float:
    return float(score_of(np.array([height]))[0])


def test_candidates_keep_class_and_diameter() -> None:
    candidates = known().candidates
    assert candidates.class_ids.tolist() == [0] * 4 + [1] * 4
    assert candidates.diameters.tolist() == [60.0] * 4 + [100.0] * 4
    assert candidates.scores[:2] == pytest.approx([score(9.1), score(6.2)])


def test_of_two_classes_at_one_place_the_higher_stays() -> None:
    candidates = candidates_of([peaks_at([(0, 0, 0)], [8.0]), peaks_at([(0, 0, 3)], [9.0])], DIAMETERS.tolist())
    assert pick_at(candidates, np.zeros(2), VOXEL_SIZE).class_ids.tolist() == [1]
    assert pick_at(candidates, np.array([0.0, score(10.0)]), VOXEL_SIZE).class_ids.tolist() == [0]


def test_objective_by_hand() -> None:
    # All eight picked: 4 hits of 8 picks and 4 particles, 2 x 4 / 12; each class 2 x 2 / (4 + 2).
    assert objective(known(), np.zeros(2), DIAMETERS, VOXEL_SIZE) == pytest.approx(2 / 3 + 2 / 3)
    # Class 0 at 5.5 and class 1 at 15: 3 hits of 3 picks, 6 / 7; classes 1 and 2 x 1 / (1 + 2).
    some = np.array([score(5.5), score(15.0)])
    assert objective(known(), some, DIAMETERS, VOXEL_SIZE) == pytest.approx(6 / 7 + (1 + 2 / 3) / 2)


def test_a_pick_of_the_wrong_class_is_found_but_not_right() -> None:
    wrong = Known(
        candidates=candidates_of([peaks_at([(0, 0, 10)], [9.0]), peaks_at([], [])], DIAMETERS.tolist()),
        positions=np.array([[0.0, 0.0, 10.0]]),
        class_ids=np.array([1]),
    )
    assert objective(wrong, np.zeros(2), DIAMETERS, VOXEL_SIZE) == pytest.approx(1.0)


def test_thresholds_part_right_from_wrong() -> None:
    thresholds = tune_thresholds([known()], DIAMETERS, VOXEL_SIZE)
    assert score(5.1) < thresholds[0] <= score(6.2)
    assert score(12.1) < thresholds[1] <= score(14.6)
    assert objective(known(), thresholds, DIAMETERS, VOXEL_SIZE) == pytest.approx(2.0)
    assert set(thresholds) <= set(score_of(THRESHOLD_HEIGHTS))


def test_nothing_known_and_nothing_found_is_no_error() -> None:
    empty = Known(candidates=Detections.empty(), positions=np.zeros((0, 3)), class_ids=np.zeros(0, np.intp))
    assert objective(empty, np.zeros(2), DIAMETERS, VOXEL_SIZE) == 0.0

import numpy as np
import pytest
import torch

from picker_training.baselines.peaks import Peaks, find_peaks, robust_spread, score_of


def map_with(*peaks: tuple[int, int, int, float]) -> torch.Tensor:
    """Return a map of median 1 and robust deviation 1.4826, with some voxels set."""
    scores = torch.ones(9, 10, 11)
    scores[::2] = 2.0
    scores[1::4] = 0.0
    for z, y, x, value in peaks:
        scores[z, y, x] = value
    return scores


def test_spread_is_that_of_most_voxels() -> None:
    median, deviation = robust_spread(torch.tensor([1.0, 2.0, 3.0, 4.0, 1000.0]))
    assert median == 3.0
    assert deviation == pytest.approx(1.4826)


def test_a_constant_map_has_no_peaks() -> None:
    assert len(find_peaks(torch.full((5, 5, 5), 0.3), most=10)) == 0


def test_peaks_are_the_highest_of_their_neighbours_best_first() -> None:
    scores = map_with((4, 4, 4, 30.0), (4, 5, 5, 29.0), (0, 0, 0, 40.0), (8, 9, 10, 20.0))
    peaks = find_peaks(scores, most=10, floor=5.0)
    assert peaks.positions.tolist() == [[0, 0, 0], [4, 4, 4], [8, 9, 10]]
    assert peaks.values.tolist() == [40.0, 30.0, 20.0]
    median, deviation = robust_spread(scores)
    assert peaks.heights == pytest.approx((np.array([40.0, 30.0, 20.0]) - median) / deviation)
    assert peaks.orientations.tolist() == [-1, -1, -1]


def test_the_floor_and_the_number_bound_the_peaks() -> None:
    scores = map_with((4, 4, 4, 30.0), (0, 0, 0, 40.0), (8, 9, 10, 20.0))
    median, deviation = robust_spread(scores)
    assert len(find_peaks(scores, most=10, floor=(25.0 - median) / deviation)) == 2
    assert find_peaks(scores, most=1).positions.tolist() == [[0, 0, 0]]


def test_scores_rank_as_heights_within_0_and_1() -> None:
    assert score_of(np.array([-3.0, 0.0, 10.0, 30.0])).tolist() == [0.0, 0.0, 0.5, 0.75]


def test_peaks_become_detections_of_one_class() -> None:
    peaks = Peaks(
        positions=np.array([[1, 2, 3], [4, 5, 6]]),
        heights=np.array([10.0, 5.0]),
        values=np.array([0.6, 0.4]),
        orientations=np.array([3, 8]),
    )
    found = peaks.detections(4, 120.0)
    assert found.positions.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert found.scores == pytest.approx([0.5, 1 / 3])
    assert found.class_ids.tolist() == [4, 4]
    assert found.diameters.tolist() == [120.0, 120.0]

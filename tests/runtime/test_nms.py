import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picker_runtime import nms
from picker_runtime.detections import Detections
from picker_runtime.nms import pick, suppress


def detections(positions: object, scores: object, diameters: object = 100.0, class_ids: object = 0) -> Detections:
    positions = np.asarray(positions, np.float64).reshape(-1, 3)
    n = len(positions)
    return Detections(
        positions=positions,
        scores=np.asarray(scores, np.float64),
        diameters=np.broadcast_to(np.asarray(diameters, np.float64), n).copy(),
        class_ids=np.broadcast_to(np.asarray(class_ids, np.int32), n).copy(),
    )


def slow_suppress(found: Detections, fraction: float, voxel_size: float) -> list[int]:
    """The definition, word for word: best first, keep what no kept one overlaps."""
    order = sorted(range(len(found)), key=lambda i: (-found.scores[i], *found.positions[i]))
    kept: list[int] = []
    for i in order:
        limits = fraction * (found.diameters[i] + found.diameters[kept]) / 2 / voxel_size
        if np.all(np.linalg.norm(found.positions[i] - found.positions[kept], axis=1) >= limits):
            kept.append(i)
    return kept


@st.composite
def crowds(draw: st.DrawFn) -> Detections:
    n = draw(st.integers(0, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    extent = draw(st.sampled_from([3.0, 40.0, 300.0]))
    positions = np.round(rng.uniform(-1, extent, (n, 3)), draw(st.integers(0, 3)))
    scores = np.round(rng.uniform(0.1, 1, n), draw(st.integers(1, 6)))  # one decimal: many ties
    return detections(positions, scores, rng.choice([13.7, 51.3, 270.1], n), rng.integers(0, 3, n))


@given(crowds(), st.sampled_from([0.01, 0.31, 0.5, 1.7]), st.sampled_from([1.3, 10.0]))
def test_suppress_equals_its_definition(found: Detections, fraction: float, voxel_size: float) -> None:
    kept = found.select(np.array(slow_suppress(found, fraction, voxel_size), np.intp))
    result = suppress(found, fraction=fraction, voxel_size=voxel_size)
    for name in ("positions", "scores", "diameters", "class_ids"):
        np.testing.assert_array_equal(getattr(result, name), getattr(kept, name))


def test_portions_of_the_neighbour_search_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    crowd = detections(rng.uniform(0, 60, (400, 3)), rng.uniform(size=400))
    whole = suppress(crowd, fraction=0.5, voxel_size=10)
    monkeypatch.setattr(nms, "PAIRS_AT_A_TIME", 7)
    np.testing.assert_array_equal(suppress(crowd, fraction=0.5, voxel_size=10).positions, whole.positions)
    assert 100 < len(whole) < 300


def test_overlap_begins_below_the_fraction_of_the_mean_diameter() -> None:
    # diameters of 6 and 10 voxels, fraction 0.5: they overlap below 4 voxels
    for distance, expected in ((3.999, 1), (4.0, 2)):
        pair = detections([[0, 0, 0], [0, distance, 0]], [0.9, 0.8], [60, 100], [0, 1])
        assert len(suppress(pair, fraction=0.5, voxel_size=10)) == expected


def test_one_that_is_itself_suppressed_suppresses_nothing() -> None:
    chain = detections([[0, 0, 0], [0, 0, 4], [0, 0, 8]], [0.9, 0.8, 0.7])
    assert suppress(chain, fraction=0.5, voxel_size=10).scores.tolist() == [0.9, 0.7]


def test_ties_go_to_the_lowest_z_then_y_then_x() -> None:
    tied = detections([[1, 1, 2], [1, 2, 1], [2, 1, 1], [1, 1, 1]], [0.5] * 4)
    assert suppress(tied, fraction=0.5, voxel_size=10).positions.tolist() == [[1, 1, 1]]
    assert suppress(tied, fraction=0.01, voxel_size=10).positions.tolist() == [
        [1, 1, 1],
        [1, 1, 2],
        [1, 2, 1],
        [2, 1, 1],
    ]


def test_a_hundred_thousand_candidates_come_out_apart() -> None:
    rng = np.random.default_rng(1)
    crowd = detections(rng.uniform(0, [200, 512, 512], (100_000, 3)), rng.uniform(size=100_000), 60)
    kept = suppress(crowd, fraction=0.5, voxel_size=10)
    assert 60_000 < len(kept) < 100_000
    assert len(suppress(kept, fraction=0.5, voxel_size=10)) == len(kept)


def test_pick_takes_each_class_at_its_own_threshold_and_leaves_out_infinity() -> None:
    found = detections(np.arange(15).reshape(5, 3) * 100, [0.3, 0.5, 0.5, 0.9, 0.4], 100, [0, 0, 1, 2, 1])
    picks = pick(found, thresholds=np.array([0.3, 0.5, np.inf]), fraction=0.5, voxel_size=10)
    assert list(zip(picks.class_ids.tolist(), picks.scores.tolist(), strict=True)) == [(0, 0.5), (1, 0.5), (0, 0.3)]


def test_what_is_below_its_threshold_suppresses_nothing() -> None:
    pair = detections([[0, 0, 0], [0, 0, 1]], [0.9, 0.8], 100, [0, 1])
    picks = pick(pair, thresholds=np.array([0.95, 0.1]), fraction=0.5, voxel_size=10)
    assert picks.class_ids.tolist() == [1]


def test_pick_judges_rounded_values() -> None:
    found = detections([[0, 0, 0.00049], [9, 9, 9]], [0.3999996, 0.3999994])
    picks = pick(found, thresholds=np.array([0.4]), fraction=0.5, voxel_size=10)
    assert picks.scores.tolist() == [0.4]
    assert picks.positions.tolist() == [[0, 0, 0]]

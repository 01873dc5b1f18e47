"""The CZII challenge's rule: hand-worked cases, an oracle, and what must not matter."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picker_training.datasets.truth import Truth
from picker_training.evaluation.czii import RADII_ANGSTROM, WEIGHTS, CziiScore, Tomogram, score_czii

RADII = {"a": 60.0, "b": 90.0}
Row = tuple[str, float, float, float]


def tomogram(picks: list[Row], truths: list[Row], *, voxel_size: float = 1.0) -> Tomogram:
    """Rows are class, z, y, x in angstrom."""
    places = np.array([row[1:] for row in picks], np.float64).reshape(-1, 3) / voxel_size
    centres = np.array([row[1:] for row in truths], np.float64).reshape(-1, 3) / voxel_size
    truth = Truth(names=tuple(row[0] for row in truths), positions=centres)
    return Tomogram([row[0] for row in picks], places, truth, voxel_size)


def scored(picks: list[Row], truths: list[Row], **options: Any) -> CziiScore:
    return score_czii([tomogram(picks, truths)], radii_angstrom=RADII, **options)


WORKED_TRUTHS: list[Row] = [("a", 0, 0, 0), ("a", 0, 0, 200), ("b", 0, 0, 500)]
WORKED_PICKS: list[Row] = [("a", 0, 0, 30), ("a", 0, 0, 10), ("b", 0, 0, 546)]


def test_hand_worked_case() -> None:
    found = scored(WORKED_PICKS, WORKED_TRUTHS, weights={"b": 2.0}).to_json()
    assert found["fbeta4"] == pytest.approx(1 / 6)
    assert found["class_fbeta4"] == {"a": pytest.approx(0.5), "b": 0}
    assert found["class_f1"] == {"a": 0.5, "b": 0}
    assert found["confusion_matrix"] == {"labels": ["background", "a", "b"], "rows": [[0, 1, 1], [1, 1, 0], [1, 0, 0]]}
    counts = {key: found[key] for key in ("rr", "truths", "tp", "fp", "fn", "mh", "ro", "ad", "warnings")}
    assert counts == {"rr": 3, "truths": 3, "tp": 1, "fp": 2, "fn": 2, "mh": 1, "ro": 0, "ad": 10, "warnings": []}
    assert (found["precision"], found["recall"], found["f1"]) == (1 / 3, 1 / 3, 1 / 3)


@pytest.mark.parametrize(
    "changed",
    [
        [("a", 0, 0, 31), *WORKED_PICKS[2:]],
        [("b", 0, 0, 30), *WORKED_PICKS[1:]],
        [*WORKED_PICKS[:2], ("b", 0, 0, 545)],
        WORKED_PICKS[:2] + WORKED_PICKS[3:] + [("a", 0, 0, 200)],
    ],
)
def test_worked_case_fails_after_one_pick_is_changed(changed: list[Row]) -> None:
    assert scored(changed, WORKED_TRUTHS, weights={"b": 2.0}).fbeta != pytest.approx(1 / 6)


def test_half_the_radius_of_the_truths_own_class_is_the_reach_border_included() -> None:
    assert scored([("b", 0, 0, 45)], [("b", 0, 0, 0)]).tp == 1
    assert scored([("b", 0, 0, 45.001)], [("b", 0, 0, 0)]).tp == 0
    assert scored([("a", 0, 0, 45)], [("a", 0, 0, 0)]).tp == 0
    assert scored([("a", 20, 20, 20)], [("a", 0, 0, 0)]).tp == 0  # a ball, not a cube
    assert scored([("a", 0, 0, 0)], [("b", 0, 0, 0)]).tp == 0


def test_voxel_size_turns_voxels_into_angstrom_and_distances_are_in_voxels() -> None:
    one = tomogram([("a", 0, 0, 30)], [("a", 0, 0, 0)], voxel_size=10.0)
    found = score_czii([one], radii_angstrom=RADII)
    assert (found.tp, found.ad) == (1, 3)
    wider = score_czii([one._replace(voxel_size=10.01)], radii_angstrom=RADII)
    assert (wider.tp, wider.ad) == (0, None)


def test_one_pick_near_two_truths_hits_both() -> None:
    found = scored([("a", 0, 0, 10)], [("a", 0, 0, 0), ("a", 0, 0, 20)])
    assert (found.tp, found.fp, found.fn, found.class_fbeta["a"]) == (2, -1, 0, pytest.approx(34 / 33))


def test_counts_are_summed_over_tomograms_before_rates() -> None:
    first = tomogram([("a", 0, 0, 0)], [("a", 0, 0, 0)])
    second = tomogram([("a", 0, 0, 99)], [("a", 0, 0, 0), ("a", 0, 500, 0), ("a", 500, 0, 0)])
    found = score_czii([first, second], radii_angstrom={"a": 60.0})
    assert (found.tp, found.fp, found.fn) == (1, 1, 3)
    assert found.fbeta == pytest.approx(17 / (17 + 1 + 48))
    apart = [score_czii([each], radii_angstrom={"a": 60.0}).fbeta for each in (first, second)]
    assert found.fbeta != pytest.approx(sum(apart) / 2)


def test_picks_of_one_tomogram_do_not_hit_another() -> None:
    first, second = tomogram([("a", 0, 0, 0)], []), tomogram([], [("a", 0, 0, 0)])
    assert score_czii([first, second], radii_angstrom=RADII).tp == 0


def test_weights() -> None:
    picks: list[Row] = [("a", 0, 0, 0)]
    truths: list[Row] = [("a", 0, 0, 0), ("b", 0, 0, 500)]
    assert scored(picks, truths).fbeta == 0.5
    assert scored(picks, truths, weights={"a": 3.0}).fbeta == 0.75
    assert scored(picks, truths, weights={"b": 0.0}).fbeta == 1
    assert scored(picks, truths, weights={"a": 0.0, "b": 0.0}).fbeta == 0
    assert scored(picks, truths[:1]).fbeta == 0.5  # b has no truth: 0, with its weight


def test_degenerate_lists() -> None:
    empty = scored([], [("a", 0, 0, 0)])
    assert (empty.fbeta, empty.f1, empty.ad, empty.fn, empty.class_f1) == (0, 0, None, 1, {"a": 0, "b": None})
    nothing = score_czii([], radii_angstrom=RADII)
    assert (nothing.fbeta, nothing.mean_class_f1, nothing.recall) == (0, None, 0)
    assert scored([("a", 0, 0, 0)], []).fp == 1


def test_class_without_radius_is_refused() -> None:
    for picks, truths, weights in [([("c", 0, 0, 0)], [], {}), ([], [("c", 0, 0, 0)], {}), ([], [], {"c": 1.0})]:
        with pytest.raises(ValueError, match="no radius for c"):
            scored(picks, truths, weights=weights)


def test_the_challenges_own_numbers() -> None:
    assert RADII_ANGSTROM.keys() == WEIGHTS.keys()
    assert sum(WEIGHTS.values()) == 7
    assert min(RADII_ANGSTROM, key=lambda name: RADII_ANGSTROM[name]) == "apo-ferritin"


tens = st.integers(-6, 6).map(lambda v: 10.0 * v)
rows = st.lists(st.tuples(st.sampled_from("ab"), tens, tens, tens), max_size=8)


def oracle(picks: list[Row], truths: list[Row]) -> dict[str, tuple[int, int, int]]:
    """Follow the rule with plain loops: TP, FP, FN by class."""
    counts = {}
    for name, radius in RADII.items():
        own = [pick[1:] for pick in picks if pick[0] == name]
        centres = [truth[1:] for truth in truths if truth[0] == name]
        hit = {
            i
            for i, centre in enumerate(centres)
            for place in own
            if sum((p - c) ** 2 for p, c in zip(place, centre, strict=True)) <= (radius / 2) ** 2
        }
        counts[name] = (len(hit), len(own) - len(hit), len(centres) - len(hit))
    return counts


@given(rows, rows, st.randoms(use_true_random=False))
@settings(max_examples=100)
def test_agrees_with_the_rule_followed_step_by_step_in_any_order(picks: Any, truths: Any, random: Any) -> None:
    random.shuffle(picks)
    found = scored(picks, truths)
    for name, (tp, fp, fn) in oracle(picks, truths).items():
        counts = found.class_counts[name]
        assert (counts.right, counts.predictions - counts.right, counts.truths - counts.right) == (tp, fp, fn)
        precision, recall = tp / (tp + fp) if tp + fp else 0, tp / (tp + fn) if tp + fn else 0
        both = 16 * precision + recall
        assert found.class_fbeta[name] == pytest.approx(17 * precision * recall / both if both else 0)

"""The rule `distance`: a hand-worked case, an oracle, and what must not matter."""

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picker_training.datasets.truth import Truth
from picker_training.evaluation.distance import DistanceScore, match, score

DIAMETERS = {"a": 6.0, "b": 3.0}


def truth_at(*rows: tuple[str, float, float, float]) -> Truth:
    return Truth(names=tuple(row[0] for row in rows), positions=np.array([row[1:] for row in rows]).reshape(-1, 3))


def score_picks(picks: list[tuple[str, float, float, float, float]], truth: Truth) -> DistanceScore:
    """Score rows of class, score, z, y, x."""
    values = np.array([pick[1:] for pick in picks], np.float64).reshape(-1, 4)
    return score(values[:, 1:], [pick[0] for pick in picks], values[:, 0], truth, DIAMETERS)


def test_hand_worked_case() -> None:
    truth = truth_at(("a", 0, 0, 0), ("b", 0, 0, 10), ("b", 5, 5, 5))
    result = score_picks([("a", 0.8, 0, 0, 2), ("a", 0.9, 0, 0, 1), ("a", 0.7, 0, 0, 10.5)], truth)
    assert result.to_json() == {
        "picks": 3,
        "truths": 3,
        "tp": 2,  # 0.9 takes a; 0.8 finds it taken; 0.7 takes a b
        "fp": 1,
        "fn": 1,
        "recall": 2 / 3,
        "precision": 2 / 3,
        "f1": 2 / 3,
        "centre_error_voxels": 0.75,
        "class_f1": {"a": 0.5, "b": 0.0},
        "mean_class_f1": 0.25,
        "confusion_matrix": {"labels": ["background", "a", "b"], "rows": [[0, 1, 0], [0, 1, 0], [1, 1, 0]]},
    }


@pytest.mark.parametrize("x, hits", [(3.0, True), (3.001, False), (-3.0, True), (-3.001, False)])
def test_reach_is_half_the_diameter_of_the_truths_class(x: float, hits: bool) -> None:
    assert score_picks([("b", 0.5, 0, 0, x)], truth_at(("a", 0, 0, 0))).tp == hits


def test_reach_is_a_ball() -> None:
    assert score_picks([("a", 0.5, 2, 2, 2)], truth_at(("a", 0, 0, 0))).tp == 0
    assert score_picks([("a", 0.5, 1, 2, 2)], truth_at(("a", 0, 0, 0))).tp == 1


def test_a_pick_takes_the_nearest_truth_and_a_later_one_the_next() -> None:
    truth = truth_at(("a", 0, 0, 0), ("a", 0, 0, 2))
    result = score_picks([("a", 0.9, 0, 0, 1.5), ("a", 0.8, 0, 0, 2), ("a", 0.7, 0, 0, 2)], truth)
    assert (result.tp, result.fp) == (2, 1)
    assert result.centre_error == pytest.approx((0.5 + 2) / 2)


def test_a_nearer_truth_out_of_its_own_reach_does_not_stand_in_the_way() -> None:
    truth = truth_at(("b", 0, 0, 0), ("a", 0, 0, 5))
    assert match(np.array([[0.0, 0, 2]]), np.ones(1), truth.positions, np.array([1.5, 3.0])).tolist() == [1]


def test_equal_scores_count_in_the_order_given() -> None:
    picks = np.array([[0.0, 0, 2], [0, 0, 1]])
    assert match(picks, np.ones(2), np.zeros((1, 3)), np.array([3.0])).tolist() == [0, -1]


def test_class_only_predicted_is_listed_but_not_in_the_mean() -> None:
    result = score_picks([("a", 0.9, 0, 0, 0), ("c", 0.9, 9, 9, 9)], truth_at(("a", 0, 0, 0)))
    assert result.confusion.f1 == {"a": 1.0, "c": 0.0}
    assert result.mean_class_f1 == 1


def test_nothing_against_nothing() -> None:
    empty = score_picks([], truth_at())
    assert (empty.precision, empty.recall, empty.f1, empty.centre_error, empty.mean_class_f1) == (0, 0, 0, None, None)
    assert score_picks([], truth_at(("a", 0, 0, 0))).fn == 1
    assert score_picks([("a", 0.5, 0, 0, 0)], truth_at()).fp == 1


def test_missing_diameter_is_refused() -> None:
    with pytest.raises(ValueError, match="no diameter for vesicle"):
        score_picks([], truth_at(("vesicle", 0, 0, 0)))


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="2 names"):
        score(np.zeros((2, 3)), ["a", "b"], np.zeros(1), truth_at(), DIAMETERS)


quarters = st.integers(-32, 32).map(lambda v: v / 4)
truths = st.lists(st.tuples(st.sampled_from("ab"), quarters, quarters, quarters), max_size=8)
picks = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 9999).map(lambda v: v / 9999), quarters, quarters, quarters),
    max_size=12,
    unique_by=lambda pick: pick[1],
)


def oracle(rows: list[Any], truth: Truth) -> tuple[int, float]:
    """Follow the rule with plain loops."""
    free = set(range(len(truth)))
    errors = []
    for pick in sorted(rows, key=lambda row: -row[1]):
        distances = {i: float(np.linalg.norm(truth.positions[i] - pick[2:])) for i in free}
        reachable = [i for i, distance in distances.items() if distance <= DIAMETERS[truth.names[i]] / 2]
        if reachable:
            nearest = min(reachable, key=lambda i: (distances[i], truth.positions[i, 2], i))
            free.remove(nearest)
            errors.append(distances[nearest])
    return len(errors), sum(errors)


@given(picks, truths)
@settings(max_examples=100)
def test_agrees_with_the_rule_followed_step_by_step(rows: list[Any], centres: list[Any]) -> None:
    truth = truth_at(*centres)
    result = score_picks(rows, truth)
    tp, error = oracle(rows, truth)
    assert result.tp == tp
    assert (result.centre_error or 0) * tp == pytest.approx(error)


@given(picks, truths, st.randoms(use_true_random=False), st.tuples(*[st.integers(-1000, 1000)] * 3))
@settings(max_examples=60)
def test_order_and_place_do_not_matter(rows: list[Any], centres: list[Any], random: Any, shift: Any) -> None:
    truth = truth_at(*centres)
    before = score_picks(rows, truth).to_json()
    moved = Truth(names=truth.names, positions=truth.positions + shift)
    shuffled = [(name, p, z + shift[0], y + shift[1], x + shift[2]) for name, p, z, y, x in rows]
    random.shuffle(shuffled)
    after = score_picks(shuffled, moved).to_json()
    assert before.pop("centre_error_voxels") == pytest.approx(after.pop("centre_error_voxels"))
    assert before == after


def test_a_full_tomogram_takes_less_than_a_second_of_computing() -> None:
    rng = np.random.default_rng(0)
    names = tuple(rng.choice(["a", "b"], 2600))
    truth = Truth(names=names, positions=rng.uniform(0, (200, 512, 512), (2600, 3)))
    found = np.concatenate([truth.positions + rng.normal(0, 0.3, (2600, 3)), rng.uniform(0, 512, (2400, 3))])
    start = time.process_time()
    result = score(found, [*names, *names[:2400]], rng.uniform(size=5000), truth, {"a": 20.0, "b": 10.0})
    assert time.process_time() - start < 1
    assert result.recall > 0.99

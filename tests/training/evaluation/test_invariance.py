"""What must not matter to the SHREC rules: order, doubles, the names of the classes, the place of the scene."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training.evaluation.random_scenes import NAMES, Scene, run, scenes

from picker_training.datasets.truth import Truth
from picker_training.evaluation.shrec import (
    score_2019,
    score_2020,
    score_2020_copy,
    score_2021,
    score_2021_clean,
    score_paper,
)

RULES = [score_2019, score_2020, score_2020_copy, score_2021, score_2021_clean, score_paper]
by_rule = pytest.mark.parametrize("rule", RULES)
LOCALISATION = ("tp", "fp", "fn", "mh", "ro", "recall", "precision", "f1", "miss_rate")


def within(scene: Scene, margin: int = 4) -> Scene:
    """Return the scene with background around it, so that every pick lies inside."""
    mask, truth, picks = scene
    moved = [(name, z + margin, y + margin, x + margin) for name, z, y, x in picks]
    return np.pad(mask, margin + 2), Truth(names=truth.names, positions=truth.positions + margin + 2), moved


def localisation(score: Any) -> dict[str, float]:
    return {key: getattr(score, key) for key in LOCALISATION}


@by_rule
@given(scene=scenes(), random=st.randoms(use_true_random=False))
@settings(max_examples=15)
def test_order_of_the_picks(rule: Any, scene: Scene, random: Any) -> None:
    mask, truth, picks = within(scene)
    shuffled = list(picks)
    random.shuffle(shuffled)
    assert localisation(run(rule, (mask, truth, picks))) == localisation(run(rule, (mask, truth, shuffled)))


@by_rule
@given(scene=scenes(), which=st.integers(0, 99))
@settings(max_examples=15)
def test_a_double_never_raises_f1(rule: Any, scene: Scene, which: int) -> None:
    mask, truth, picks = within(scene)
    if not picks:
        return
    before = run(rule, (mask, truth, picks))
    after = run(rule, (mask, truth, [*picks, picks[which % len(picks)]]))
    assert after.f1 <= before.f1
    assert (after.tp, after.fn, after.class_f1 if rule is not score_paper else None) == (
        before.tp,
        before.fn,
        before.class_f1 if rule is not score_paper else None,
    )


@by_rule
@given(scene=scenes(), label=st.sampled_from(["1bxn", "1qvr", "what"]))
@settings(max_examples=15)
def test_labels_of_the_picks_leave_localisation_alone(rule: Any, scene: Scene, label: str) -> None:
    mask, truth, picks = within(scene)
    if rule is score_2019:  # "0" alone matters there
        picks = [pick for pick in picks if pick[0] != "0"]
    relabelled = [(label, *pick[1:]) for pick in picks]
    assert localisation(run(rule, (mask, truth, picks))) == localisation(run(rule, (mask, truth, relabelled)))


@by_rule
@given(scene=scenes())
@settings(max_examples=15)
def test_exchanging_two_classes_exchanges_their_scores(rule: Any, scene: Scene) -> None:
    mask, truth, picks = within(scene)
    exchange = {"1bxn": "4cr2", "4cr2": "1bxn"}  # 4cr2 is in no scene
    exchanged = Truth(names=tuple(exchange.get(name, name) for name in NAMES), positions=truth.positions)
    before = run(rule, (mask, truth, picks)).class_f1
    after = run(rule, (mask, exchanged, [(exchange.get(pick[0], pick[0]), *pick[1:]) for pick in picks])).class_f1
    here, there = ("1BXN", "4CR2") if rule in (score_2021, score_2021_clean) else ("1bxn", "4cr2")
    assert before[here] == after.get(there)
    assert Counter(before.values()) == Counter(after.values()) or rule is score_2019


@by_rule
@given(scene=scenes(), shift=st.tuples(*[st.integers(0, 5)] * 3))
@settings(max_examples=15)
def test_moving_everything_by_whole_voxels(rule: Any, scene: Scene, shift: tuple[int, int, int]) -> None:
    mask, truth, picks = within(scene)
    even = 2 * np.array(shift)  # half rounds to even, so odd steps round otherwise
    moved_mask = np.pad(mask, [(step, 0) for step in even])
    moved = [(name, z + even[0], y + even[1], x + even[2]) for name, z, y, x in picks]
    before = run(rule, (mask, truth, picks)).to_json()
    after = run(rule, (moved_mask, Truth(names=truth.names, positions=truth.positions + even), moved)).to_json()
    for key in ("ad", "centre_error_voxels"):
        assert before.pop(key) == pytest.approx(after.pop(key))
    assert before == after

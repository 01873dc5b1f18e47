"""The paper's rule: hand-worked cases for each of its particularities."""

import random
from dataclasses import replace
from typing import Any

import pytest
from training.evaluation.cases import Case, holds, score, simple

from picker_training.evaluation.shrec import CLASSES_2020, score_paper

CASES = [
    Case(
        name="the docstring's: a class is right whichever pick says so",
        truth="1bxn 2 2 2; 4d8q 6 2 2",
        picks="4d8q 2 2 2; 1bxn 2 2 2; 1bxn 6 6 6",
        expected={
            "rr": 3, "tp": 1, "fp": 1, "fn": 1, "mh": 1, "ro": 0, "precision": 0.5, "recall": 0.5, "f1": 0.5,
            "f1_1bxn": 2 / 3, "f1_4d8q": 0, "mean_class_f1": 1 / 3,
        },
        voxel=(2, 2, 2),
        changed_to=0,
    ),
    Case(
        name="duplicates do not lower the precision, nor a class's F1",
        truth="1bxn 2 2 2",
        picks="1bxn 2 2 2; 1bxn 2 2 3; 1bxn 2 3 2",
        expected={"tp": 1, "fp": 0, "mh": 1, "precision": 1, "f1": 1, "f1_1bxn": 1},
        voxel=(2, 2, 2),
        changed_to=0,
    ),
    Case(
        name="picks of a class on other classes and on background are its false ones, each of them",
        truth="1bxn 2 2 2; 4d8q 6 2 2",
        picks="1bxn 2 2 2; 1bxn 6 2 2; 1bxn 6 2 2; 1bxn 6 6 6",
        expected={"tp": 2, "fp": 1, "precision": 2 / 3, "recall": 1, "f1_1bxn": 2 / 5, "f1_4d8q": 0},
        voxel=(6, 2, 2),
        changed_to=0,
    ),
    Case(
        name="picks outside the volume are dropped, not clipped",
        truth="1bxn 0 2 0; 4d8q 7 7 199",
        picks="1bxn -1 2 0; 4d8q 7 7 200; 1bxn 0 2 -0.5; 4d8q 7 7 199.4",  # the last two round into it
        expected={
            "rr": 4, "tp": 2, "fp": 0, "ro": 0, "mh": 0, "f1_1bxn": 1, "warnings": ["2 picks outside the volume"],
        },
        voxel=(0, 2, 0),
        changed_to=0,
    ),
    Case(
        name="the larger id wins over the smaller id's own voxel",
        truth="1bxn 3 4 4; 4d8q 5 4 4",
        picks="4d8q 4 4 4",
        extra=(((4, 4, 4), 1),),
        expected={"tp": 1, "f1_4d8q": 1, "f1_1bxn": 0, "ad": 1},
        voxel=(5, 4, 4),
        changed_to=0,
    ),
    Case(
        name="half rounds to even",
        truth="1bxn 2 2 2",
        picks="1bxn 2 2 2.5; 1bxn 2 2 0.5; 1bxn 2 2 3.5",  # to 2, 0 and 4
        expected={"tp": 1, "fp": 2, "mh": 0, "precision": 1 / 3, "f1_1bxn": 0.5},
        voxel=(2, 2, 3),
        changed_to=1,
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hand_worked_case(case: Case) -> None:
    assert holds(score(score_paper, case), case.expected), score(score_paper, case).to_json()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_fails_after_one_voxel_is_changed(case: Case) -> None:
    assert not holds(score(score_paper, case, change=True), case.expected)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_order_does_not_matter_but_to_the_distance(case: Case) -> None:
    rows = case.picks.split(";")
    random.Random(1).shuffle(rows)
    expected = {key: value for key, value in case.expected.items() if key != "ad"}
    assert holds(score(score_paper, replace(case, picks=";".join(rows))), expected)


@pytest.mark.parametrize(
    "truth, picks, expected",
    [
        ("1bxn 4 4 4", "", {"rr": 0, "precision": 0, "f1": 0, "miss_rate": 1, "ad": None, "f1_1bxn": 0}),
        ("", "1bxn 4 4 4", {"fp": 1, "recall": 0, "f1": 0, "miss_rate": 0, "f1_1bxn": 0, "mean_class_f1": 0}),
        ("", "", {"rr": 0, "f1": 0, "mean_class_f1": None}),
        ("1bxn 4 4 4", "what 4 4 4; 0 4 4 4", {"tp": 1, "f1": 1, "f1_1bxn": 0, "f1_4d8q": None}),
        ("1bxn 4 4 4", "1bxn 99 99 99", {"rr": 1, "tp": 0, "fp": 0, "f1_1bxn": 0}),
    ],
)
def test_degenerate_lists(truth: str, picks: str, expected: dict[str, Any]) -> None:
    case = Case(name="", truth=truth, picks=picks, expected=expected, voxel=(0, 0, 0), changed_to=0)
    assert holds(score(score_paper, case), expected), score(score_paper, case).to_json()


def test_matrix_counts_picks_and_missed_truths() -> None:
    matrix = simple(score_paper, "1bxn 4 4 4; 4d8q 1 1 1", "1bxn 4 4 4; 4d8q 4 4 4; 4d8q 7 7 7")["confusion_matrix"]
    assert matrix["labels"] == ["background", *CLASSES_2020]
    bxn, d8q = (matrix["labels"].index(name) for name in ("1bxn", "4d8q"))
    rows = matrix["rows"]
    assert (rows[bxn][bxn], rows[bxn][d8q], rows[0][d8q], rows[d8q][0]) == (1, 1, 1, 1)
    assert sum(map(sum, rows)) == 4

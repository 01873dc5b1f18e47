"""The SHREC 2019 rule: hand-worked cases for each of its particularities."""

from typing import Any

import numpy as np
import pytest
from training.evaluation.cases import Case, holds, score, simple

from picker_training.evaluation.shrec import CLASSES_2019, score_2019

CASES = [
    Case(
        name="the docstring's: a hit labelled 0 is a hit and false; the distance is over all hits",
        truth="1bxn 2 2 2",
        picks="0 2 2 2; 1bxn 3 2 2; 1bxn 2 3 2",
        extra=(((3, 2, 2), 1),),
        expected={"tp": 1, "fp": 2, "fn": 0, "mh": 1, "ad": 0.5, "precision": 1 / 3, "f1": 0.5, "f1_1bxn": 1},
        voxel=(3, 2, 2),
        changed_to=0,
    ),
    Case(
        name="nothing is dilated",
        truth="1bxn 4 4 4",
        picks="1bxn 5 4 4; 1bxn 4 3 4; 1bxn 4 4 5",
        expected={"tp": 0, "fp": 3, "fn": 1, "precision": 0, "recall": 0, "f1": 0, "ad": None, "miss_rate": 1},
        voxel=(5, 4, 4),
        changed_to=1,
    ),
    Case(
        name="half rounds to even, before 156 is taken off",
        truth="1bxn 4 4 2; 4d8q 4 4 4",
        picks="1bxn 4 4 158.5; 4d8q 4 4 159.5; 1bxn 4 4 157.5",  # to 158, 160 and 158
        options={"z_frame": "tomogram"},
        expected={"tp": 2, "fp": 0, "mh": 1, "ro": 0, "ad": 0},
        voxel=(4, 4, 4),
        changed_to=0,
    ),
    Case(
        name="clipped on every axis after the shift: counted, and may hit",
        truth="1bxn 0 3 0; 4d8q 7 3 199",
        picks="1bxn -5 3 155; 4d8q 8 3 356; 1bxn 9 9 9",
        options={"z_frame": "tomogram"},
        expected={"tp": 2, "fp": 1, "ro": 3, "ad": 0},
        voxel=(7, 3, 199),
        changed_to=0,
    ),
    Case(
        name="the organisers' frame is the tomogram's whatever the list looks like",
        truth="1bxn 4 4 0; 4d8q 4 4 44",
        picks="1bxn 4 4 44",
        options={"z_frame": "guess"},
        expected={"tp": 1, "ro": 1, "f1_1bxn": 1, "f1_4d8q": 0},
        voxel=(4, 4, 0),
        changed_to=0,
    ),
    Case(
        name="padding is taken off every axis",
        truth="1bxn 1 2 3",
        picks="1bxn 3 4 161; 1bxn 1 4 161",
        options={"z_frame": "tomogram", "padding": 2},
        expected={"tp": 1, "fp": 1, "ro": 1, "ad": 0},
        voxel=(1, 2, 3),
        changed_to=0,
    ),
    Case(
        name="the class is that of the first hit not labelled 0",
        truth="1bxn 4 4 4; 4d8q 1 1 1",
        picks="0 4 4 4; 4d8q 4 4 4; 1bxn 4 4 4; 4d8q 1 1 1; 0 7 7 7",
        expected={"tp": 2, "fp": 2, "mh": 1, "f1_1bxn": 0, "f1_4d8q": 2 / 3, "ad": 0},
        voxel=(1, 1, 1),
        changed_to=0,
    ),
    Case(
        name="an unknown label as first hit is background, with a warning",
        truth="1bxn 4 4 4",
        picks="1BXN 4 4 4; 1bxn 4 4 4",
        expected={"tp": 1, "f1_1bxn": 0, "warnings": ["unknown classes count as background: 1BXN"]},
        voxel=(4, 4, 4),
        changed_to=0,
    ),
    Case(
        name="the distance is the mean over all hits, not the first of each truth",
        truth="1bxn 2 2 2; 4d8q 6 6 6",
        picks="1bxn 2 2 2; 1bxn 5 2 2; 1bxn 5 2 2; 4d8q 6 6 6",
        extra=(((5, 2, 2), 1),),
        expected={"tp": 2, "mh": 1, "ad": 1.5, "precision": 0.5},
        voxel=(5, 2, 2),
        changed_to=2,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hand_worked_case(case: Case) -> None:
    assert holds(score(score_2019, case), case.expected), score(score_2019, case).to_json()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_fails_after_one_voxel_is_changed(case: Case) -> None:
    assert not holds(score(score_2019, case, change=True), case.expected)


def test_the_slab_is_the_default_frame_and_the_other_is_named() -> None:
    def found(picks: str) -> dict[str, Any]:
        return simple(score_2019, "1bxn 4 4 10", picks)

    assert found("1bxn 4 4 10")["tp"] == 1
    assert found("1bxn 4 4 210")["warnings"] == [
        "1 of 1 picks lie above or below the 200 slices of the truth: see --z-frame"
    ]


@pytest.mark.parametrize(
    "truth, picks, expected",
    [
        ("1bxn 4 4 4", "", {"rr": 0, "tp": 0, "fn": 1, "precision": 0, "recall": 0, "f1": 0, "ad": None}),
        ("", "1bxn 4 4 4", {"rr": 1, "tp": 0, "fp": 1, "miss_rate": 0, "recall": 0, "mean_class_f1": None}),
        ("1bxn 4 4 4", "1bxn 4 4 4", {"f1": 1, "miss_rate": 0, "mean_class_f1": 1}),
        ("1bxn 4 4 4", "1bxn 7 7 7", {"tp": 0, "fp": 1, "f1": 0, "ad": None, "f1_1bxn": 0, "f1_4b4t": None}),
    ],
)
def test_degenerate_lists(truth: str, picks: str, expected: dict[str, Any]) -> None:
    case = Case(name="", truth=truth, picks=picks, expected=expected, voxel=(0, 0, 0), changed_to=0)
    assert holds(score(score_2019, case), expected), score(score_2019, case).to_json()


def test_labels_are_the_challenges_classes_and_the_truths_others() -> None:
    labels = simple(score_2019, "zzz 4 4 4; aaa 1 1 1", "")["confusion_matrix"]["labels"]
    assert labels == ["background", *CLASSES_2019, "aaa", "zzz"]


def test_what_does_not_fit_together_is_refused() -> None:
    case = Case(name="", truth="1bxn 1 1 1", picks="", expected={}, voxel=(1, 1, 1), changed_to=2)
    with pytest.raises(ValueError, match="particle 2"):
        score(score_2019, case, change=True)
    with pytest.raises(ValueError, match="not a valid ZFrame"):
        simple(score_2019, "1bxn 1 1 1", "", z_frame="side")


def test_matrix_rows_are_truths() -> None:
    matrix = simple(score_2019, "1bxn 4 4 4; 1bxn 1 1 1", "4d8q 4 4 4")["confusion_matrix"]
    rows = np.array(matrix["rows"])
    assert rows[matrix["labels"].index("1bxn"), matrix["labels"].index("4d8q")] == 1
    assert rows[matrix["labels"].index("1bxn"), 0] == 1
    assert rows.sum() == 2

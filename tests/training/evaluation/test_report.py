"""The table on the terminal."""

from dataclasses import replace
from typing import Any

import numpy as np

from picker_training.datasets.truth import Truth
from picker_training.evaluation import czii, distance, report, shrec

TRUTH = Truth(names=("1bxn", "4d8q"), positions=np.array([[1.0, 1, 1], [3, 3, 3]]))
NAMES = ["1bxn", "1bxn", "no\x1b[2Jbody"]
POSITIONS = np.array([[1.0, 1, 1], [3, 3, 3], [0, 4, 0]])


def test_distance_table() -> None:
    diameters = {"1bxn": 2.0, "4d8q": 2.0}
    lines = report.table(distance.score(POSITIONS, NAMES, np.ones(3), TRUTH, diameters)).splitlines()
    assert lines[0].split() == ["truths", "picks", "right", "precision", "recall", "F1"]
    assert lines[1].split() == ["localisation", "2", "3", "2", "0.667", "1.000", "0.800"]
    assert lines[2].split() == ["1bxn", "1", "2", "1", "0.500", "1.000", "0.667"]
    assert lines[3].split() == ["4d8q", "1", "0", "0", "0.000", "0.000", "0.000"]
    assert lines[4].split() == [r"no\x1b[2Jbody", "0", "1", "0", "0.000", "0.000", "0.000"]
    assert lines[5].split() == ["mean", "class", "F1", "0.333"]
    assert lines[6] == "centre error 0.000 voxels"
    assert len({len(line) for line in lines[:4]}) == 1


def shrec_score(rule: Any = shrec.score_2020) -> shrec.ShrecScore:
    mask = np.zeros((5, 5, 5), np.int32)
    mask[1, 1, 1], mask[3, 3, 3] = 1, 2
    return rule(pick_names=NAMES, pick_positions=POSITIONS, truth=TRUTH, occupancy_mask=mask)


def test_shrec_tables_are_like_the_papers() -> None:
    lines = report.table(shrec_score()).splitlines()
    assert lines[0].split() == ["RR", "TP", "FP", "FN", "MH", "RO", "AD", "recall", "precision", "miss", "rate", "F1"]
    assert lines[1].split() == ["3", "2", "1", "0", "0", "0", "0.000", "1.000", "0.667", "0.000", "0.800"]
    assert lines[3].split() == ["truths", "picks", "right", "precision", "recall", "F1"]
    assert [line.split() for line in lines[4:7]] == [
        ["1bxn", "1", "2", "1", "0.500", "1.000", "0.667"],
        ["4d8q", "1", "0", "0", "0.000", "0.000", "0.000"],
        ["mean", "class", "F1", "0.333"],
    ]
    assert [line.split() for line in lines[8:11]] == [
        ["class", "1bxn", "4d8q"],
        ["kDa", "560", "976"],
        ["F1", "0.667", "0.000"],
    ]
    assert lines[11:] == [
        "mean F1 by size: medium 0.667, large 0.000",
        "distance without rounding 0.000 voxels",
        r"warning: unknown classes count as background: no\x1b[2Jbody",
    ]


def test_a_table_of_2021_names_what_its_denominator_holds() -> None:
    truth = replace(TRUTH, names=("1bxn", "vesicle"))
    picks = {"pick_names": NAMES, "pick_positions": POSITIONS, "occupancy_mask": np.zeros((5, 5, 5), np.int32)}
    text = report.table(shrec.score_2021(truth=truth, **picks))
    assert "recall counts 2 truths, of which 1 are neither found nor missed" in text
    assert "recall counts" not in report.table(shrec.score_2021_clean(truth=truth, **picks))


def test_czii_tables() -> None:
    one = czii.Tomogram(["1bxn"], np.ones((1, 3)), TRUTH, 10.0)
    lines = report.table(czii.score_czii([one], radii_angstrom={"1bxn": 60.0, "4d8q": 80.0})).splitlines()
    assert lines[1].split()[:6] == ["1", "1", "0", "1", "0", "0"]
    assert lines[-1] == "F-beta (beta 4) 0.500: 1bxn 1.000, 4d8q 0.000"


def test_rows_go_from_light_to_heavy() -> None:
    truth = replace(TRUTH, names=("1bxn", "3gl1"))  # 560 and 85 kDa
    picks = {"pick_names": NAMES, "pick_positions": POSITIONS, "occupancy_mask": np.zeros((5, 5, 5), np.int32)}
    lines = report.table(shrec.score_2020(truth=truth, **picks)).splitlines()
    assert [line.split()[0] for line in lines[4:6]] == ["3gl1", "1bxn"]


def test_classes_without_mass_are_in_no_group() -> None:
    truth = replace(TRUTH, names=("fiducial", "thing"))
    names, mask = ["fiducial", "thing", "0"], np.ones((5, 5, 5), np.int32)
    score = shrec.score_2020(pick_names=names, pick_positions=POSITIONS, truth=truth, occupancy_mask=mask)
    text = report.table(score)
    assert "by size" not in text
    assert "fiducial" in text


def test_a_score_that_does_not_exist_is_a_dash() -> None:
    empty = Truth(names=(), positions=np.zeros((0, 3)))
    lines = report.table(distance.score(np.zeros((0, 3)), [], np.zeros(0), empty, {})).splitlines()
    assert lines[-2].split()[-1] == "-"
    assert lines[-1] == "centre error - voxels"

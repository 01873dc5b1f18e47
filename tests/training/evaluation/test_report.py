"""The table on the terminal."""

import numpy as np

from picker_training.datasets.truth import Truth
from picker_training.evaluation import distance, report, shrec

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


def test_shrec_table_leaves_absent_classes_out_and_names_warnings() -> None:
    mask = np.zeros((5, 5, 5), np.int32)
    mask[1, 1, 1], mask[3, 3, 3] = 1, 2
    score = shrec.score_2020(pick_names=NAMES, pick_positions=POSITIONS, truth=TRUTH, occupancy_mask=mask)
    lines = report.table(score).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["localisation", "4d8q", "1bxn"]
    assert lines[-2:] == [
        "picks on background 1, truths missed 0, hit more than once 0, picks clipped 0, distance 0.000 voxels",
        r"warning: unknown classes count as background: no\x1b[2Jbody",
    ]


def test_a_score_that_does_not_exist_is_a_dash() -> None:
    empty = Truth(names=(), positions=np.zeros((0, 3)))
    lines = report.table(distance.score(np.zeros((0, 3)), [], np.zeros(0), empty, {})).splitlines()
    assert lines[-2].split()[-1] == "-"
    assert lines[-1] == "centre error - voxels"

"""The SHREC 2021 rule and its clean variant: hand-worked cases, the odd denominator, and a real list of particles."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training.evaluation.cases import Case, holds, score, simple

from picker_runtime.formats.shrec import read_locations
from picker_training.datasets.truth import Truth
from picker_training.evaluation.shrec import CLASSES_2021, MaskTooSmallError, score_2021, score_2021_clean

SHARED = Path(os.environ.get("PICKER_SHARED", Path(__file__).parents[4] / "shared"))
REAL_LIST = SHARED / "real/shrec/shrec2021_particle_locations_one_tomogram.txt"

EXCLUDED = "1BXN 2 2 2; 4V94 6 2 2; vesicle 2 6 2"
CASES = [
    Case(
        name="the docstring's: picks on 4V94 stay in RR; vesicles stay in the recall's denominator",
        truth=EXCLUDED,
        picks="1bxn 2 2 2; 1bxn 6 2 2; 1bxn 6 6 6",
        expected={
            "rr": 3, "truths": 2, "tp": 1, "fp": 1, "fn": 0, "mh": 0, "ro": 0, "ad": 0,
            "precision": 1 / 3, "recall": 0.5, "miss_rate": 0.5, "f1": 0.4, "f1_1BXN": 1, "mean_class_f1": 1,
        },
        voxel=(6, 2, 2),
        changed_to=0,
    ),
    Case(
        name="duplicates on excluded particles are no MH; picks on vesicles vanish too",
        truth=EXCLUDED,
        picks="4V94 6 2 2; 4V94 6 2 2; fiducial 2 6 2; fiducial 2 6 2",
        expected={"rr": 4, "tp": 0, "fp": 0, "fn": 1, "mh": 0, "ad": None, "precision": 0, "recall": 0, "f1": 0},
        voxel=(2, 6, 2),
        changed_to=0,
    ),
    Case(
        name="an excluded particle hides the smaller id's voxels",
        truth="1BXN 4 4 4; 4V94 5 4 4",
        picks="1bxn 4 4 4",
        expected={"tp": 0, "fp": 0, "fn": 1, "rr": 1},
        voxel=(5, 4, 4),
        changed_to=0,
    ),
    Case(
        name="an excluded particle does not hide a larger id's",
        truth="4V94 5 4 4; 1BXN 4 4 4",
        picks="1bxn 5 4 4",
        expected={"tp": 1, "fp": 0, "ad": 1},
        voxel=(4, 4, 4),
        changed_to=0,
    ),
    Case(
        name="names are upper-cased; fiducials count",
        truth="1BXN 4 4 4; fiducial 1 1 1; 5MRC 6 6 6",
        picks="1bxn 4 4 4; fiducial 1 1 1; 5mRc 6 6 6",
        expected={"f1_1BXN": 1, "f1_fiducial": 1, "f1_5MRC": 1, "mean_class_f1": 1, "warnings": []},
        voxel=(1, 1, 1),
        changed_to=0,
    ),
    Case(
        name="first hits labelled 4V94, vesicle or Fiducial are background; only the last is unknown",
        truth="1BXN 4 4 4; 3CF3 1 1 1; fiducial 6 6 6",
        picks="4v94 4 4 4; 1bxn 4 4 4; vesicle 1 1 1; Fiducial 6 6 6",
        expected={
            "tp": 3, "mh": 1, "f1_1BXN": 0, "f1_3CF3": 0, "f1_fiducial": 0,
            "warnings": ["unknown classes count as background: Fiducial"],
        },
        voxel=(6, 6, 6),
        changed_to=0,
    ),
    Case(
        name="rounded half to even, then clipped to 0..511, below too",
        truth="1BXN 0 3 0; 3CF3 2 2 2",
        picks="1bxn -4 3 -9; 3cf3 2 2 2.5; 3cf3 2 2 0.5; 1bxn 0 3 -0.4",
        expected={"tp": 2, "fp": 1, "ro": 1, "mh": 1, "ad": 0},
        voxel=(0, 3, 0),
        changed_to=0,
    ),
    Case(
        name="no frame: z is the mask's",
        truth="1BXN 3 3 10; 3CF3 3 3 166",
        picks="3cf3 3 3 166",
        expected={"tp": 1, "f1_3CF3": 1},
        voxel=(3, 3, 166),
        changed_to=0,
    ),
    Case(
        name="the first pick in file order gives class and distance",
        truth="1BXN 4 4 4",
        picks="3cf3 4 4 5; 1bxn 4 4 4; 1bxn 4 4 4",
        expected={"tp": 1, "mh": 1, "ad": 1, "precision": 1 / 3, "f1": 0.5, "f1_1BXN": 0, "f1_3CF3": 0},
        voxel=(4, 4, 4),
        changed_to=0,
    ),
    Case(
        name="the later release's name of 4V94",
        truth="4V94_fixed 4 4 4; 1BXN 1 1 1",
        picks="1bxn 4 4 4; 1bxn 1 1 1",
        expected={"tp": 1, "fp": 0, "truths": 1, "recall": 1, "precision": 0.5, "f1_1BXN": 1},
        voxel=(4, 4, 4),
        changed_to=0,
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hand_worked_case(case: Case) -> None:
    assert holds(score(score_2021, case), case.expected), score(score_2021, case).to_json()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_fails_after_one_voxel_is_changed(case: Case) -> None:
    assert not holds(score(score_2021, case, change=True), case.expected)


CLEAN_CASES = [
    replace(
        CASES[0],
        name="picks on excluded particles leave RR, and n = TP + FN",
        expected={
            "rr": 2, "truths": 1, "tp": 1, "fp": 1, "fn": 0,
            "precision": 0.5, "recall": 1, "miss_rate": 0, "f1": 2 / 3, "f1_1BXN": 1,
        },
    ),
    replace(CASES[1], name="nothing left", expected={"rr": 0, "tp": 0, "fp": 0, "fn": 1, "precision": 0, "ro": 0}),
    replace(CASES[2], expected={"rr": 0, "tp": 0, "fp": 0, "fn": 1}),
]  # fmt: skip


@pytest.mark.parametrize("case", CLEAN_CASES, ids=lambda case: case.name)
def test_hand_worked_case_of_the_clean_rule(case: Case) -> None:
    assert holds(score(score_2021_clean, case), case.expected), score(score_2021_clean, case).to_json()
    assert not holds(score(score_2021_clean, case, change=True), case.expected)


def test_clipping_reaches_511_whatever_the_mask() -> None:
    def found(x: float) -> tuple[int, int]:
        mask = np.zeros((2, 2, 520), np.int32)
        mask[1, 1, 511], mask[1, 1, 515] = 1, 2
        truth = Truth(names=("1BXN", "1BXN"), positions=np.array([[1.0, 1, 511], [1, 1, 515]]))
        names, positions = ["1bxn"], np.array([[1.0, 1, x]])
        result = score_2021(pick_names=names, pick_positions=positions, truth=truth, occupancy_mask=mask)
        return result.tp, result.ro

    assert [found(511), found(515), found(9999), found(509)] == [(1, 0), (1, 1), (1, 1), (0, 0)]


@pytest.mark.parametrize("rule", [score_2021, score_2021_clean])
@pytest.mark.parametrize("pick, place", [("1bxn 1 1 200", "1 1 200"), ("1bxn 8 1 1", "8 1 1"), ("1bxn 1 999 1", "511")])
def test_a_mask_that_a_pick_lies_beyond_is_too_small(rule: Any, pick: str, place: str) -> None:
    assert simple(rule, "1BXN 1 1 1", "1bxn 7 7 199")["rr"] == 1
    with pytest.raises(MaskTooSmallError, match=f"pick 2 lies at x y z = .*{place}.*the mask has 8x8x200"):
        simple(rule, "1BXN 1 1 1", f"1bxn 1 1 1; {pick}")


def test_our_own_lower_case_truths_are_read_as_the_challenges() -> None:
    found = simple(score_2021, "1bxn 4 4 4; 4v94 1 1 1; Vesicle 6 6 6; 6z6u 2 6 4", "1BXN 4 4 4; 6z6u 2 6 4")
    assert (found["truths"], found["fn"], found["f1"]) == (3, 0, 0.8)
    assert found["class_f1"]["1BXN"] == found["class_f1"]["6Z6U"] == 1
    assert found["confusion_matrix"]["labels"] == ["background", *CLASSES_2021[1:13], "fiducial", "6Z6U"]


def test_no_picks_and_no_truth() -> None:
    empty = simple(score_2021, EXCLUDED, "")
    assert (empty["rr"], empty["truths"], empty["fn"], empty["f1"], empty["miss_rate"]) == (0, 2, 1, 0, 1)
    assert (empty["ad"], empty["mean_class_f1"]) == (None, 0)
    nothing = simple(score_2021, "vesicle 1 1 1", "fiducial 1 1 1")
    assert (nothing["recall"], nothing["fn"], nothing["fp"], nothing["mean_class_f1"]) == (0, 0, 0, None)


def score_grid(rule: Any, names: list[str], *, found: int | None = None) -> dict[str, Any]:
    """Score picks on the first particles of a list, laid out three voxels apart."""
    edge = int(np.ceil(np.sqrt(len(names))))
    places = np.array([(0, 3 * (i // edge), 3 * (i % edge)) for i in range(len(names))])
    mask = np.zeros((1, 3 * edge, 3 * edge), np.int32)
    mask[tuple(places.T)] = np.arange(1, len(names) + 1)
    return rule(
        pick_names=names[:found],
        pick_positions=places[:found].astype(np.float64),
        truth=Truth(names=tuple(names), positions=places.astype(np.float64)),
        occupancy_mask=mask,
    ).to_json()


def test_the_published_arithmetic_of_the_test_tomogram() -> None:
    names = ["1BXN"] * 1166 + ["4V94"] * 100 + ["vesicle"] * 6 + ["fiducial"] * 10 + ["4CR2"] * 389
    official = score_grid(score_2021, names, found=1166)
    assert (official["truths"], official["tp"] + official["fn"]) == (1571, 1565)
    assert official["recall"] == 1166 / 1571
    assert official["miss_rate"] == pytest.approx(1 - 1166 / 1571)
    assert official["f1"] == 2 * 1166 / (1166 + 1571)
    clean = score_grid(score_2021_clean, names, found=1166)
    assert (clean["truths"], clean["fn"], clean["recall"]) == (1565, 399, 1166 / 1565)
    everything = score_grid(score_2021, names)
    assert (everything["rr"], everything["tp"], everything["fp"], everything["fn"]) == (1671, 1565, 0, 0)
    assert score_grid(score_2021_clean, names)["rr"] == 1565


@pytest.mark.skipif(not REAL_LIST.exists(), reason=f"{REAL_LIST} is not here")
def test_a_real_list_of_particles() -> None:
    names = [pick.name for pick in read_locations(REAL_LIST)]
    assert len(names) == 1451 + 10 + 5
    assert {name.upper() for name in names} <= {name.upper() for name in CLASSES_2021} | {"4V94_FIXED"}
    unlisted = names.count("4V94_fixed")
    assert unlisted == 118
    official = score_grid(score_2021, names)
    assert official["truths"] == 1451 + 10 + 5 - unlisted
    assert official["truths"] - official["tp"] - official["fn"] == 5
    assert (official["rr"], official["tp"], official["fp"]) == (1466, 1343, 0)
    assert official["recall"] == 1343 / 1348
    assert official["mean_class_f1"] == 1
    assert score_grid(score_2021_clean, names)["f1"] == 1

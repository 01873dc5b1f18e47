"""The SHREC 2020 rule: hand-worked cases for each of its particularities, and an oracle written step by step."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training.evaluation.cases import Case, holds, score
from training.evaluation.cases import simple as simple_case

from picker_training.datasets.truth import Truth
from picker_training.evaluation.shrec import CLASSES_2020, ShrecScore, ZFrame, score_2020, score_2020_copy

CASES = [
    Case(
        name="dilated with the cross of six neighbours, not with edges, corners or twice",
        truth="1bxn 4 4 4",
        picks="1bxn 4 4 4; 1bxn 5 4 4; 1bxn 3 4 4; 1bxn 4 5 4; 1bxn 4 3 4; 1bxn 4 4 5; 1bxn 4 4 3;"
        "1bxn 5 5 4; 1bxn 5 5 5; 1bxn 6 4 4",
        expected={"rr": 10, "tp": 1, "fp": 3, "fn": 0, "mh": 1, "ro": 0, "ad": 0, "precision": 0.1, "recall": 1},
        voxel=(4, 4, 4),
        changed_to=0,
    ),
    Case(
        name="the larger id wins over the smaller id's own voxel",
        truth="1bxn 3 4 4; 4d8q 5 4 4",
        picks="4d8q 4 4 4",  # voxel of particle 1, beside particle 2
        extra=(((4, 4, 4), 1),),
        expected={"tp": 1, "fn": 1, "ad": 1, "f1_4d8q": 1, "f1_1bxn": 0},
        voxel=(5, 4, 4),
        changed_to=0,
    ),
    Case(
        name="the smaller id does not win over the larger id's own voxel",
        truth="1bxn 3 4 4; 4d8q 4 4 4",
        picks="4d8q 4 4 4; 4d8q 3 4 4",
        expected={"tp": 1, "fn": 1, "mh": 1, "f1_4d8q": 1, "f1_1bxn": 0},
        voxel=(4, 4, 4),
        changed_to=1,
    ),
    Case(
        name="half rounds to even",
        truth="1bxn 2 2 2",
        picks="1bxn 2 2 2.5; 1bxn 2 2 0.5; 1bxn 2 2 3.5",  # to 2, 0 and 4
        expected={"tp": 1, "fp": 2, "mh": 0, "ad": 0, "precision": 1 / 3, "f1": 0.5},
        voxel=(2, 2, 3),
        changed_to=1,
    ),
    Case(
        name="clipped in x and y: counted, and may hit",
        truth="1bxn 0 3 3",
        picks="1bxn -5 3 3; 1bxn 99 -99 3",
        expected={"tp": 1, "fp": 1, "ro": 2, "ad": 0},
        voxel=(7, 0, 3),
        changed_to=1,
    ),
    Case(
        name="one voxel below and above the slab is background and not clipped",
        truth="1bxn 3 3 0; 4d8q 3 3 199",
        picks="1bxn 3 3 -1; 4d8q 3 3 200; 1bxn 3 3 -0.5",  # the last rounds to 0
        expected={"tp": 1, "fp": 2, "fn": 1, "ro": 0, "miss_rate": 0.5},
        voxel=(3, 3, 0),
        changed_to=0,
    ),
    Case(
        name="clipped in z only beyond the whole tomogram, 156 slices further",
        truth="1bxn 3 3 0",
        picks="1bxn 3 3 -156; 1bxn 3 3 355; 1bxn 3 3 -157; 1bxn 3 3 356; 1bxn 3 3 1",
        expected={"tp": 1, "fp": 4, "ro": 2, "ad": 1},
        voxel=(3, 3, 0),
        changed_to=0,
    ),
    Case(
        name="tomogram frame",
        truth="1bxn 3 3 10",
        picks="1bxn 3 3 10; 1bxn 3 3 166; 1bxn 3 3 512",
        options={"z_frame": "tomogram"},
        expected={"tp": 1, "fp": 2, "ro": 1, "ad": 0},
        voxel=(3, 3, 10),
        changed_to=0,
    ),
    Case(
        name="guess: all within 156..356 after rounding is taken as the tomogram's",
        truth="1bxn 3 3 0; 4d8q 3 3 10",
        picks="1bxn 3 3 155.5; 4d8q 3 3 166; 4d8q 7 7 356",
        options={"z_frame": "guess"},
        expected={"tp": 2, "fp": 1, "ro": 0, "ad": 0},
        voxel=(3, 3, 10),
        changed_to=0,
    ),
    Case(
        name="guess: one stray pick flips all",
        truth="1bxn 3 3 0; 4d8q 3 3 10",
        picks="1bxn 3 3 156; 4d8q 3 3 166; 4d8q 7 7 357",
        options={"z_frame": "guess"},
        expected={"tp": 0, "fp": 3, "ro": 1, "ad": None},  # 357 + 156 is beyond 511
        voxel=(3, 3, 156),
        changed_to=1,
    ),
    Case(
        name="guess: a slab's list is recognised by one low pick",
        truth="1bxn 3 3 10; 4d8q 3 3 160",
        picks="1bxn 3 3 10; 4d8q 3 3 160",
        options={"z_frame": "guess"},
        expected={"tp": 2, "fp": 0},
        voxel=(3, 3, 160),
        changed_to=0,
    ),
    Case(
        name="guess: a slab's list that is high throughout is misread",
        truth="1bxn 3 3 160; 4d8q 3 3 4",
        picks="1bxn 3 3 160",
        options={"z_frame": "guess"},
        expected={"tp": 1, "ad": 0, "f1_1bxn": 0, "f1_4d8q": 0},  # hits particle 2 at z = 4
        voxel=(3, 3, 4),
        changed_to=0,
    ),
    Case(
        name="the first pick in file order gives class and distance; duplicates lower the precision alone",
        truth="1bxn 4 4 4; 4d8q 1 1 1",
        picks="1bxn 4 4 5; 4d8q 4 4 4; 4d8q 4 4 4; 4d8q 1 1 1",
        expected={"tp": 2, "fp": 0, "mh": 1, "precision": 0.5, "recall": 1, "f1": 2 / 3, "ad": 0.5, "mean_class_f1": 1},
        voxel=(1, 1, 1),
        changed_to=0,
    ),
    Case(
        name='class "0" finds a particle and classifies it as background; background picks cost no class F1',
        truth="1bxn 4 4 4; 1bxn 1 1 1",
        picks="0 4 4 4; 1bxn 4 4 4; 1bxn 1 1 1; 1bxn 7 7 7",
        expected={"tp": 2, "fp": 1, "mh": 1, "f1_1bxn": 2 / 3, "warnings": []},
        voxel=(4, 4, 4),
        changed_to=0,
    ),
    Case(
        name="unknown names, and known ones in upper case, classify as background with a warning",
        truth="1bxn 4 4 4; 4d8q 1 1 1",
        picks="1BXN 4 4 4; what 1 1 1",
        expected={
            "tp": 2,
            "f1_1bxn": 0,
            "f1_4d8q": 0,
            "warnings": ["unknown classes count as background: 1BXN, what"],
        },
        voxel=(4, 4, 4),
        changed_to=0,
    ),
    Case(
        name="mean class F1: a class without right pick counts 0, so does one only predicted; absent ones are left out",
        truth="1bxn 4 4 4; 4d8q 1 1 1; 3cf3 6 6 6",
        picks="1bxn 4 4 4; 1s3x 1 1 1; 3gl1 0 7 9",
        expected={
            "f1_1bxn": 1,
            "f1_4d8q": 0,
            "f1_3cf3": 0,
            "f1_1s3x": 0,
            "f1_3gl1": None,  # predicted on background only
            "f1_1qvr": None,
            "mean_class_f1": 0.25,
        },
        voxel=(1, 1, 1),
        changed_to=0,
    ),
    Case(
        name="the distance is from the rounded pick to the rounded listed centre",
        truth="1bxn 4.4 4 4",
        picks="1bxn 4.6 4 4",
        expected={"tp": 1, "ad": 1},
        voxel=(4, 4, 4),
        changed_to=0,
    ),
    Case(
        name="classes beyond the challenge's are the truth's own",
        truth="6z6u 4 4 4",
        picks="6z6u 4 4 4",
        expected={"f1_6z6u": 1, "mean_class_f1": 1, "warnings": []},
        voxel=(4, 4, 4),
        changed_to=0,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hand_worked_case(case: Case) -> None:
    assert holds(score(score_2020, case), case.expected), score(score_2020, case).to_json()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_fails_after_one_voxel_is_changed(case: Case) -> None:
    assert not holds(score(score_2020, case, change=True), case.expected)


def simple(truth: str, picks: str) -> dict[str, Any]:
    return simple_case(score_2020, truth, picks)


def test_no_picks() -> None:
    found = simple("1bxn 4 4 4", "")
    assert (found["rr"], found["tp"], found["fp"], found["fn"], found["mh"], found["ro"]) == (0, 0, 0, 1, 0, 0)
    assert (found["precision"], found["recall"], found["f1"], found["miss_rate"]) == (0, 0, 0, 1)
    assert found["ad"] is None
    assert found["mean_class_f1"] == 0


def test_no_truth() -> None:
    found = simple("", "1bxn 4 4 4")
    assert (found["rr"], found["tp"], found["fp"], found["fn"]) == (1, 0, 1, 0)
    assert (found["precision"], found["recall"], found["f1"], found["miss_rate"]) == (0, 0, 0, 0)
    assert found["ad"] is None
    assert found["mean_class_f1"] is None


def test_every_truth_found() -> None:
    found = simple("1bxn 4 4 4", "1bxn 4 4 4")
    assert (found["precision"], found["recall"], found["f1"], found["miss_rate"]) == (1, 1, 1, 0)


def test_confusion_matrix_has_background_first_and_truth_in_rows() -> None:
    matrix = simple("1bxn 4 4 4; 4d8q 1 1 1; 4d8q 6 6 6", "4d8q 4 4 4; 4d8q 1 1 1; 1bxn 7 1 1")["confusion_matrix"]
    assert matrix["labels"] == ["background", *CLASSES_2020]
    rows = np.array(matrix["rows"])
    bxn, d8q = (matrix["labels"].index(name) for name in ("1bxn", "4d8q"))
    assert (rows[bxn, d8q], rows[d8q, d8q], rows[d8q, 0]) == (1, 1, 1)
    assert rows.sum() == 3


def test_json_has_the_names_of_the_tables() -> None:
    keys = "rr tp fp fn mh ro ad recall precision miss_rate f1 class_f1 mean_class_f1 confusion_matrix warnings"
    more = "truths centre_error_voxels size_groups f1_by_mass"
    assert set(simple("1bxn 4 4 4", "1bxn 4 4 4")) == {*keys.split(), *more.split()}


def test_other_masks_have_their_own_frame() -> None:
    mask = np.zeros((6, 5, 4), np.int32)
    mask[5, 4, 3] = 1

    def found(z: float, frame: str) -> tuple[int, int]:
        result = score_2020(
            pick_names=["1bxn"],
            pick_positions=np.array([[z, 9.0, 9.0]]),
            truth=Truth(names=("1bxn",), positions=np.array([[5.0, 4, 3]])),
            occupancy_mask=mask,
            z_frame=frame,
        )
        return result.tp, result.ro

    assert found(5, "slab") == (1, 1)
    assert found(6, "slab") == (0, 1)
    assert found(161, "tomogram") == (1, 1)
    assert found(161, "guess") == (1, 1)
    assert found(162, "guess") == (0, 1)
    assert found(163, "guess") == (0, 1)  # above 156 + 6: taken as the slab's
    assert found(5, "guess") == (1, 1)


def test_distance_is_reported_rounded_and_not() -> None:
    found = simple("1bxn 4.4 4 4", "1bxn 4.6 4 4; 1bxn 4 4 4")
    assert (found["ad"], found["centre_error_voxels"]) == (1, pytest.approx(0.2))
    in_tomogram = simple_case(score_2020, "1bxn 4 4 4.25", "1bxn 4 4 160", z_frame="tomogram")
    assert in_tomogram["centre_error_voxels"] == 0.25
    assert simple("1bxn 4 4 4", "")["centre_error_voxels"] is None


@pytest.mark.parametrize(("rule", "option"), [(score_2020, "--z-frame"), (score_2020_copy, "--z-offset 156")])
def test_a_list_that_lies_outside_the_slab_is_named_with_the_option_of_the_rule(rule: Any, option: str) -> None:
    warning = f"2 of 3 picks lie above or below the 200 slices of the truth: see {option}"
    assert simple_case(rule, "1bxn 4 4 4", "1bxn 4 4 4; 1bxn 4 4 200; 1bxn 4 4 -1")["warnings"] == [warning]
    assert simple_case(rule, "1bxn 4 4 4", "1bxn 4 4 4; 1bxn 4 4 199; 1bxn 4 4 -1")["warnings"] == []
    assert simple_case(rule, "1bxn 4 4 4", "1bxn 4 4 4; 1bxn 4 4 -1")["warnings"] == []


COPY_CASES = [
    Case(
        name="picks above and below the slab are clipped into it: counted, and may hit",
        truth="1bxn 3 3 0; 4d8q 3 3 199",
        picks="1bxn 3 3 -1; 4d8q 3 3 200; 4d8q 3 3 999; 1bxn 7 7 -9",
        expected={"tp": 2, "fp": 1, "mh": 1, "ro": 4, "ad": 0},
        voxel=(3, 3, 0),
        changed_to=0,
    ),
    Case(
        name="nothing is shifted",
        truth="1bxn 3 3 10; 4d8q 3 3 166",
        picks="1bxn 3 3 166",
        expected={"tp": 1, "f1_1bxn": 0, "f1_4d8q": 0, "ro": 0},
        voxel=(3, 3, 166),
        changed_to=0,
    ),
    Case(
        name="else as the rule of 2020: dilation, rounding, first pick",
        truth="1bxn 4 4 4",
        picks="0 4 4 4.5; 1bxn 4 5 4; 1bxn 5 5 4",
        expected={"tp": 1, "fp": 1, "mh": 1, "ad": 0, "f1_1bxn": 0, "precision": 1 / 3},
        voxel=(5, 5, 4),
        changed_to=1,
    ),
]


@pytest.mark.parametrize("case", COPY_CASES, ids=lambda case: case.name)
def test_hand_worked_case_of_the_copy(case: Case) -> None:
    assert holds(score(score_2020_copy, case), case.expected), score(score_2020_copy, case).to_json()
    assert not holds(score(score_2020_copy, case, change=True), case.expected)


@pytest.mark.parametrize("names, highest", [(["1bxn", "1bxn"], 1), (["1bxn"], 2)])
def test_what_does_not_fit_together_is_refused(names: list[str], highest: int) -> None:
    with pytest.raises(ValueError, match=r"2 names|particle 2"):
        score_2020(
            pick_names=names,
            pick_positions=np.zeros((1, 3)),
            truth=Truth(names=("1bxn",), positions=np.zeros((1, 3))),
            occupancy_mask=np.full((3, 3, 3), highest),
        )


Scene = tuple[np.ndarray, list[tuple[str, float, float, float]], str]


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    voxels = draw(st.lists(st.integers(0, 4), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    frame = draw(st.sampled_from(list(ZFrame)))
    z = st.one_of(st.integers(-6, 14), st.integers(300, 340), st.integers(-320, -300), st.integers(310, 330))
    xy = st.integers(-4, 14).map(lambda v: v / 2)
    pick = st.tuples(st.sampled_from(["1bxn", "4d8q", "0", "x"]), z.map(lambda v: v / 2), xy, xy)
    return np.array(voxels, np.int32).reshape(shape), draw(st.lists(pick, max_size=8)), frame


TRUTH = Truth(names=("1bxn", "4d8q", "4d8q", "3cf3"), positions=np.arange(12.0).reshape(4, 3) / 3)


def score_scene(mask: np.ndarray, picks: list[tuple[str, float, float, float]], frame: str) -> ShrecScore:
    return score_2020(
        pick_names=[pick[0] for pick in picks],
        pick_positions=np.array([pick[1:] for pick in picks]).reshape(-1, 3),
        truth=TRUTH,
        occupancy_mask=mask,
        z_frame=frame,
    )


def oracle(mask: np.ndarray, picks: list[tuple[str, float, float, float]], frame: str) -> dict[str, Any]:
    """Follow the rule with plain loops on the padded volume."""
    dilated = np.zeros_like(mask)
    for z, y, x in np.ndindex(mask.shape):
        cross = [(z, y, x), (z + 1, y, x), (z - 1, y, x), (z, y + 1, x), (z, y - 1, x), (z, y, x + 1), (z, y, x - 1)]
        inside = [c for c in cross if all(0 <= i < n for i, n in zip(c, mask.shape, strict=True))]
        dilated[z, y, x] = max(mask[c] for c in inside)
    padded = np.pad(dilated, ((156, 156), (0, 0), (0, 0)))
    rounded = [[round(v) for v in pick[1:]] for pick in picks]
    zs = [r[0] for r in rounded]
    shift = frame == "slab" or (frame == "guess" and bool(zs) and (min(zs) < 156 or max(zs) > 156 + len(mask)))
    hits: dict[int, list[str]] = {}
    outside = background = 0
    for (name, *_), (z, y, x) in zip(picks, rounded, strict=True):
        moved = (z + 156 * shift, y, x)
        clipped = tuple(min(max(v, 0), n - 1) for v, n in zip(moved, padded.shape, strict=True))
        outside += clipped != moved
        if padded[clipped]:
            hits.setdefault(int(padded[clipped]), []).append(name)
        else:
            background += 1
    multiple = sum(len(names) > 1 for names in hits.values())
    right = sum(TRUTH.names[number - 1] == names[0] for number, names in hits.items())
    return {"tp": len(hits), "fp": background, "mh": multiple, "ro": outside, "right": right}


@given(scenes())
@settings(max_examples=60)
def test_agrees_with_the_rule_followed_step_by_step(scene: Scene) -> None:
    result = score_scene(*scene)
    found = {"tp": result.tp, "fp": result.fp, "mh": result.mh, "ro": result.ro}
    found["right"] = sum(result.confusion.right.values())
    assert found == oracle(*scene)


@given(scenes(), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_localisation_does_not_depend_on_file_order(scene: Scene, random: Any) -> None:
    mask, picks, frame = scene
    before = score_scene(mask, picks, frame)
    random.shuffle(picks)
    after = score_scene(mask, picks, frame)
    assert (before.tp, before.fp, before.fn, before.mh, before.ro, before.f1) == (
        after.tp,
        after.fp,
        after.fn,
        after.mh,
        after.ro,
        after.f1,
    )

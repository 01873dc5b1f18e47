"""Every reader: round trips within the rounding, files of other programs, and each refusal with its line."""

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picker_runtime.detections import Detections
from picker_runtime.errors import InputError
from picker_runtime.formats import FORMATS, WRITERS, FormatContext, read_named_picks, read_picks, shrec
from picker_runtime.formats.base import Centre

CONTEXT = FormatContext(tomogram="001", shape=(21, 40, 61), voxel_size=10.0, class_names=("1bxn", "4d8q", "4cr2"))
ROWS = st.lists(
    st.tuples(*[st.floats(-10, 2000, allow_nan=False)] * 3, st.floats(0, 1), st.floats(0, 500), st.integers(0, 2)),
    max_size=6,
)
STEMS = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp", "Cn", "Co", "Cf"]) | st.just(" "), min_size=1
)
HEADER = "tomogram,class,score,x,y,z,x_angstrom,y_angstrom,z_angstrom,diameter_angstrom\n"
STAR = """# a comment
data_optics

_rlnOne 1

loop_
_rlnA
1

data_particles

loop_
_rlnClassNumber #1
_rlnCenteredCoordinateZAngst #2
_rlnCenteredCoordinateYAngst #3 # remark
_rlnCenteredCoordinateXAngst #4
_rlnAngleRot #5
_rlnTomoName #6
2 -105.0 -200.0 -305.0 "a # b" '001'   # remark
1 0 0 0 '' "TS 02"
"""


def detections(rows: list[tuple[float, ...]]) -> Detections:
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return Detections(
        positions=table[:, :3], scores=table[:, 3], diameters=table[:, 4], class_ids=table[:, 5].astype(np.int32)
    )


def save(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path, context: FormatContext | None = CONTEXT) -> str:
    with pytest.raises(InputError, match="E44") as caught:
        read_picks(path, context) if context else read_named_picks(path)
    return str(caught.value)


@given(rows=ROWS, stem=STEMS, voxel_size=st.floats(0.5, 100), centre=st.sampled_from(["core", "python"]))
def test_csv_and_relion5_round_trips(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[float, ...]],
    stem: str,
    voxel_size: float,
    centre: Centre,
) -> None:
    folder = tmp_path_factory.mktemp("picks")
    context = replace(CONTEXT, tomogram=stem, voxel_size=voxel_size, relion_centre=centre)
    picks = detections(rows).rounded()
    (path,) = WRITERS["csv"](folder, "a", picks, context)
    back = read_picks(path, context)
    assert back.positions.tolist() == picks.positions.tolist()
    assert back.scores.tolist() == picks.scores.tolist()
    assert back.diameters.tolist() == picks.diameters.tolist()
    assert back.class_ids.tolist() == picks.class_ids.tolist()
    if any(mark in stem for mark in "\"'"):
        return
    (path, _) = WRITERS["relion5"](folder, "a", picks, context)
    back = read_picks(path, replace(context, relion_centre="core"))
    assert np.abs(back.positions - picks.positions).max(initial=0) <= 0.00051 / voxel_size
    assert back.scores.tolist() == picks.scores.tolist()
    assert back.class_ids.tolist() == picks.class_ids.tolist()


@given(rows=ROWS)
def test_coords_and_shrec_round_trips(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, ...]]) -> None:
    folder = tmp_path_factory.mktemp("picks")
    picks = detections(rows).rounded()
    (path,) = WRITERS["shrec"](folder, "a", picks, CONTEXT)
    back = read_picks(path, CONTEXT)
    assert back.positions.tolist() == picks.positions.tolist()
    assert back.class_ids.tolist() == picks.class_ids.tolist()
    by_class = Detections.concatenate([picks.select(picks.class_ids == number) for number in range(3)])
    parts = [read_picks(path, CONTEXT) for path in WRITERS["coords"](folder, "a", picks, CONTEXT)]
    assert Detections.concatenate(parts).positions.tolist() == by_class.positions.tolist()
    assert Detections.concatenate(parts).class_ids.tolist() == by_class.class_ids.tolist()


@pytest.mark.parametrize("stem", ["001", "two words", 'a "b", c', "a\rb", "a\nb", "\udcff", "µ", "=1+1"])
def test_csv_keeps_the_tomograms_name(tmp_path: Path, stem: str) -> None:
    picks = detections([(1, 2, 3, 0.5, 100, 1)])
    (path,) = WRITERS["csv"](tmp_path, "a", picks, replace(CONTEXT, tomogram=stem))
    assert [pick.tomogram for pick in read_named_picks(path)] == [stem]


REFINED = """data_particles

loop_
_rlnTomoName #1
_rlnCenteredCoordinateXAngst #2
_rlnCenteredCoordinateYAngst #3
_rlnCenteredCoordinateZAngst #4
_rlnOriginXAngst #5
_rlnOriginYAngst #6
_rlnOriginZAngst #7
_rlnTomoSubtomogramRot #8
_rlnClassNumber #9
001 100 50 -20 40 -10 5 {turn} 1
"""


def test_relion5_refined_particles_lie_at_the_coordinate_less_the_origin(tmp_path: Path) -> None:
    path = save(tmp_path, "refined.star", REFINED.format(turn=0))
    z, y, x = (np.array(CONTEXT.shape) / 2).tolist()
    assert read_picks(path, CONTEXT).positions.tolist() == [[z - 2.5, y + 6.0, x + 6.0]]


def test_relion5_origins_in_turned_subtomograms_are_refused(tmp_path: Path) -> None:
    told = refusal(save(tmp_path, "refined.star", REFINED.format(turn=30)))
    assert "line 13: an origin of 40.0, -10.0, 5.0 A in a subtomogram that is turned" in told
    unshifted = REFINED.format(turn=30).replace("40 -10 5", "0 0 0")
    assert len(read_picks(save(tmp_path, "b.star", unshifted), CONTEXT)) == 1


def test_csv_accepts_what_a_spreadsheet_makes_of_it(tmp_path: Path) -> None:
    row = '"001","4d8q",0.5,3,2,1,30,20,10,100\n'
    path = save(tmp_path, "a.csv", b"\xef\xbb\xbf" + (HEADER + row).replace("\n", "\r\n").encode())
    assert read_picks(path, CONTEXT).positions.tolist() == [[1.0, 2.0, 3.0]]


def test_rows_of_other_tomograms_are_left_out(tmp_path: Path) -> None:
    path = save(tmp_path, "a.csv", f"{HEADER}001,4d8q,0.5,3,2,1,0,0,0,1\n002,x,0.5,3,2,1,0,0,0,1\n")
    assert len(read_picks(path, CONTEXT)) == 1
    assert len(read_named_picks(path)) == 2
    assert "holds picks of '001', none of 'TS'" in refusal(path, replace(CONTEXT, tomogram="TS"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "header is '', expected tomogram,class"),
        ("\n", "header is ''"),
        ("x,y,z\n1,2,3\n", "header is 'x,y,z'"),
        (HEADER + "001,4d8q,0.5,3,2,1,30,20,10\n", "line 2: 9 columns, expected 10"),
        (HEADER + "\n001,4d8q,0.5,3,2,one,30,20,10,1\n", "line 3: 'one' is not a number"),
        (HEADER + "001,4d8q,0.5,nan,2,1,30,20,10,1\n", "line 2: 'nan' is not a number"),
        (HEADER + "001,4d8q,0.5,1_0,2,1,30,20,10,1\n", "line 2: '1_0' is not a number"),
        (HEADER + "001,4d8q,0.5,3,2,1,30,20,10,1e999\n", "line 2: '1e999' is not a number"),
        (HEADER + "001,4d8q,1.5,3,2,1,30,20,10,1\n", "line 2: score 1.5 or diameter 1.0 is out of range"),
        (
            HEADER + "001,9xyz,0.5,3,2,1,30,20,10,1\n",
            "line 2: unknown class '9xyz'. Fix: use the model's classes: 1bxn",
        ),
        (HEADER + '001,"4d8q,0.5,3\n', "line 3: unexpected end of data"),
    ],
)
def test_csv_refusals(tmp_path: Path, text: str, problem: str) -> None:
    assert problem in refusal(save(tmp_path, "a.csv", text))


def test_relion5_reads_any_order_of_labels_quotes_and_comments(tmp_path: Path) -> None:
    path = save(tmp_path, "a.star", STAR)
    back = read_picks(path, CONTEXT)
    assert back.positions.tolist() == [[0.0, 0.0, 0.0]]
    assert (back.class_ids.tolist(), back.scores.tolist()) == ([1], [1.0])
    other = read_picks(path, replace(CONTEXT, tomogram="TS 02", relion_centre="python"))
    assert other.positions.tolist() == [[9.5, 19.0, 29.5]]


def test_relion5_without_class_numbers_suits_one_class_only(tmp_path: Path) -> None:
    labels = "".join(f"_rlnCenteredCoordinate{axis}Angst\n" for axis in "XYZ")
    path = save(tmp_path, "a.star", f"data_\nloop_\n_rlnTomoName\n{labels}001 0 0 0\n")
    assert read_picks(path, replace(CONTEXT, class_names=("1bxn",))).class_ids.tolist() == [0]
    assert "rlnClassNumber is missing" in refusal(path)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("2 -105.0", "4 -105.0", "line 19: rlnClassNumber is '4', expected 1 to 3"),
        ("2 -105.0", "0 -105.0", "line 19: rlnClassNumber is '0', expected 1 to 3"),
        ("2 -105.0", "1.0 -105.0", "line 19: rlnClassNumber is '1.0'"),
        ("-105.0", "<NA>", "line 19: '<NA>' is not a number"),
        ("'001'", "", "line 19: 5 values, expected 6"),
        ("'001'", "'001", "line 19: a quote is not closed"),
        ("rlnTomoName", "rlnMicrographName", "0 tables with rlnTomoName"),
        ("CenteredCoordinateXAngst", "CoordinateX", "; rlnCenteredCoordinateXAngst is missing"),
    ],
)
def test_relion5_refusals(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert problem in refusal(save(tmp_path, "a.star", STAR.replace(old, new)))


def test_relion5_refuses_two_tables_and_no_context(tmp_path: Path) -> None:
    path = save(tmp_path, "a.star", STAR)
    assert "need the tomogram's shape" in refusal(path, None)
    assert "2 tables with" in refusal(save(tmp_path, "b.star", STAR + STAR))


def test_coords_takes_the_longest_class_that_fits_the_name(tmp_path: Path) -> None:
    context = replace(CONTEXT, class_names=("ring", "small_ring"))
    path = save(tmp_path, "TS_01_small_ring.coords", "1 2 3\n\n")
    assert read_picks(path, context).class_ids.tolist() == [1]
    assert [pick.name for pick in read_named_picks(path)] == ["ring"]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a_4d8q.coords", "1 2 3\n1 2\n", "line 2: 2 columns, expected x y z"),
        ("a_4d8q.coords", "1 2 3 4\n", "line 1: 4 columns, expected x y z"),
        ("a_4d8q.coords", "x y z\n", "line 1: 'x' is not a number"),
        ("a_9xyz.coords", "1 2 3\n", "line 1: unknown class '9xyz'"),
        ("a.txt", "4d8q 1 2\n", "line 1: 3 columns, expected class x y z"),
        ("a.txt", "# note\n4d8q 1 2 inf\n", "line 2: 'inf' is not a number"),
        ("a.txt", "4D8Q 1 2 3\n", "line 1: unknown class '4D8Q'"),
        ("a.xyz", "1 2 3\n", "of no known picks format. Fix: give a file of coords, csv, relion5, shrec"),
    ],
)
def test_other_refusals(tmp_path: Path, name: str, text: str, problem: str) -> None:
    assert problem in refusal(save(tmp_path, name, text))


@pytest.mark.parametrize("name", ["absent.csv", "folder.csv"])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    assert f"{name}: no such file" in refusal(tmp_path / name)


def test_shrec_lists_may_hold_comments_headers_and_angles(tmp_path: Path) -> None:
    path = save(tmp_path, "particle_locations.txt", "# truth\nclass x y z a b c\n1BXN 1 2 3 NaN NaN NaN\n\n")
    ((line, name, position, *_),) = shrec.read_locations(path)
    assert (line, name, position) == (3, "1BXN", (3.0, 2.0, 1.0))


def test_shrec_2019_lists_are_read_in_their_order(tmp_path: Path) -> None:
    path = save(tmp_path, "a.txt", "3d2f  180  480  118  -45   81  -72\n")
    assert shrec.read_locations(path, order="zyx")[0].position == (180.0, 480.0, 118.0)


def test_a_published_shrec_list_is_read_whole() -> None:
    shared = Path(os.environ.get("PICKER_SHARED", Path(__file__).parents[4] / "shared"))
    path = shared / "real" / "shrec" / "shrec2021_particle_locations_one_tomogram.txt"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    picks = read_named_picks(path)
    assert len(picks) == 1466
    assert (picks[0].name, picks[0].position) == ("vesicle", (95.0, 180.0, 425.0))
    assert all(math.isfinite(value) for pick in picks for value in pick.position)


def test_the_names_of_formats_are_those_of_the_registry() -> None:
    assert {name: entry.name for name, entry in FORMATS.items()} == {name: name for name in WRITERS}

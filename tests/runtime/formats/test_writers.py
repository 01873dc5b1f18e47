"""Every writer: exact text for even and odd sizes, no picks, awkward names, a full disk."""

import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gemmi import cif

from picker_runtime.detections import Detections
from picker_runtime.errors import InputError, OutputError, UsageError
from picker_runtime.formats import WRITERS, FormatContext, find_writer, read_named_picks

CONTEXT = FormatContext(tomogram="001", shape=(21, 40, 61), voxel_size=10.0, class_names=("1bxn", "4d8q", "4cr2"))
PICKS = Detections(
    positions=np.array([[0.0, 0.0, 0.0], [20.0, 39.0, 60.0], [-0.0001, 19.5004, 30.25]]),
    diameters=np.array([130.0, 170.5, 200.004]),
    scores=np.array([0.9, 0.1234567, 1.0]),
    class_ids=np.array([0, 2, 0], np.int32),
)
NAMES = [
    "001",
    "TS_02",
    "two words",
    "it's",
    'a "b" c',
    "µ-tubule",
    "data_7",
    "_x",
    "loop_",
    "#1",
    "$a",
    "a,b;c",
    "-x",
    "?",
]


def star_rows(path: Path) -> list[list[str]]:
    """Read a STAR file's only loop with gemmi, an independent reader."""
    table = cif.read(str(path)).sole_block()[0].loop
    width = table.width()
    values = [cif.as_string(value) for value in table.values]
    return [list(table.tags), *(values[i : i + width] for i in range(0, len(values), width))]


def test_csv_to_the_letter(tmp_path: Path) -> None:
    (path,) = WRITERS["csv"](tmp_path, "001", PICKS, CONTEXT)
    assert path == tmp_path / "001.csv"
    assert path.read_bytes().decode() == (
        "tomogram,class,score,x,y,z,x_angstrom,y_angstrom,z_angstrom,diameter_angstrom\n"
        "001,1bxn,0.900000,0.000,0.000,0.000,0.000,0.000,0.000,130.00\n"
        "001,4cr2,0.123457,60.000,39.000,20.000,600.000,390.000,200.000,170.50\n"
        "001,1bxn,1.000000,30.250,19.500,0.000,302.500,195.000,0.000,200.00\n"
    )


def test_relion5_to_the_letter(tmp_path: Path) -> None:
    paths = WRITERS["relion5"](tmp_path, "001", PICKS, CONTEXT)
    assert [path.name for path in paths] == ["001_particles.star", "particles_index.star"]
    assert paths[0].read_bytes().decode() == (
        "# picker: angstrom from the centre, (voxel - (size/2)) * 10\n\n"
        "data_particles\n\nloop_\n"
        "_rlnTomoName #1\n_rlnCenteredCoordinateXAngst #2\n_rlnCenteredCoordinateYAngst #3\n"
        "_rlnCenteredCoordinateZAngst #4\n_rlnAutopickFigureOfMerit #5\n_rlnClassNumber #6\n"
        "001 -305.000 -200.000 -105.000 0.900000 1\n"
        "001 295.000 190.000 95.000 0.123457 3\n"
        "001 -2.500 -5.000 -105.000 1.000000 1\n\n"
    )


def test_relion5_python_centre_is_one_voxel_before(tmp_path: Path) -> None:
    (path, _) = WRITERS["relion5"](tmp_path, "001", PICKS, replace(CONTEXT, relion_centre="python"))
    assert path.read_text().startswith("# picker: angstrom from the centre, (voxel - (size/2 - 1)) * 10\n")
    assert star_rows(path)[1][1:4] == ["-295.000", "-190.000", "-95.000"]


def test_relion5_index_holds_every_tomogram_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("picks").mkdir()
    for name in ("TS 02", "001"):
        WRITERS["relion5"](Path("picks"), name, PICKS, replace(CONTEXT, tomogram=name))
    assert star_rows(Path("picks/particles_index.star")) == [
        ["_rlnTomoName", "_rlnTomoImportParticleFile"],
        ["001", "picks/001_particles.star"],
        ["TS 02", "picks/TS 02_particles.star"],
    ]


def test_relion5_index_leaves_out_what_holds_no_particle(tmp_path: Path) -> None:
    """RELION's importer takes the tomogram's name from a file's first particle, and ends where there is none."""
    (empty, index) = WRITERS["relion5"](tmp_path, "001", Detections.empty(), CONTEXT)
    assert star_rows(index)[1:] == []
    for name in ("002", "_3", "data_4", "#5"):  # the last three are quoted
        WRITERS["relion5"](tmp_path, name, PICKS, replace(CONTEXT, tomogram=name))
    (tmp_path / "foreign_particles.star").write_bytes(b"\xff\n")
    assert [row[0] for row in star_rows(index)[1:]] == ["#5", "002", "_3", "data_4"]
    assert empty.exists()


def test_relion5_index_sees_a_file_that_comes_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_file = Path.replace

    def with_company(self: Path, target: Path) -> Path:
        if target.name == "particles_index.star":
            (tmp_path / "late_particles.star").write_text("late 1 2 3\n")
        return replace_file(self, target)

    monkeypatch.setattr(Path, "replace", with_company)
    (_, index) = WRITERS["relion5"](tmp_path, "001", PICKS, CONTEXT)
    assert [row[0] for row in star_rows(index)[1:]] == ["001", "late"]


@pytest.mark.parametrize("name", NAMES)
def test_relion5_names_survive_an_independent_reader_and_ours(tmp_path: Path, name: str) -> None:
    (path, index) = WRITERS["relion5"](tmp_path, name, PICKS, replace(CONTEXT, tomogram=name))
    assert [row[0] for row in star_rows(path)[1:]] == [name] * 3
    assert [pick.tomogram for pick in read_named_picks(path, CONTEXT)] == [name] * 3
    assert star_rows(index)[1] == [name, f"{tmp_path}/{name}_particles.star"]


def test_relion5_s_index_leaves_out_a_stranger_that_it_cannot_name(tmp_path: Path) -> None:
    (path, _) = WRITERS["relion5"](tmp_path, "001", PICKS, CONTEXT)
    (tmp_path / "a' b\" c_particles.star").write_text(path.read_text())
    (_, index) = WRITERS["relion5"](tmp_path, "001", PICKS, CONTEXT)
    assert [row[0] for row in star_rows(index)[1:]] == ["001"]


def test_relion5_reads_with_starfile(tmp_path: Path) -> None:
    starfile = pytest.importorskip("starfile", reason="starfile is not installed")
    (path, _) = WRITERS["relion5"](tmp_path, "001", PICKS, CONTEXT)
    table = starfile.read(path, parse_as_string=["rlnTomoName"])
    assert list(table["rlnTomoName"]) == ["001"] * 3
    assert list(table["rlnCenteredCoordinateXAngst"]) == [-305.0, 295.0, -2.5]


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2J", "a' b\" c", "\udcff"])
def test_relion5_refuses_a_name_that_no_quotes_can_hold(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"E47 .*rename the tomogram"):
        WRITERS["relion5"](tmp_path, "stem", PICKS, replace(CONTEXT, tomogram=name))


def test_coords_to_the_letter(tmp_path: Path) -> None:
    paths = WRITERS["coords"](tmp_path, "001", PICKS, CONTEXT)
    assert [path.name for path in paths] == ["001_1bxn.coords", "001_4cr2.coords"]
    assert paths[0].read_text() == "0.000 0.000 0.000\n30.250 19.500 0.000\n"
    assert np.loadtxt(paths[1]).tolist() == [60.0, 39.0, 20.0]


def test_coords_removes_the_file_of_a_class_that_has_no_picks_any_more(tmp_path: Path) -> None:
    WRITERS["coords"](tmp_path, "001", PICKS, CONTEXT)
    WRITERS["coords"](tmp_path, "001", PICKS.select(np.array([0])), CONTEXT)
    assert [path.name for path in tmp_path.iterdir()] == ["001_1bxn.coords"]


def test_shrec_to_the_letter(tmp_path: Path) -> None:
    (path,) = WRITERS["shrec"](tmp_path, "001", PICKS, CONTEXT)
    assert path.name == "001_shrec.txt"
    assert path.read_text() == "1bxn 0.000 0.000 0.000\n4cr2 60.000 39.000 20.000\n1bxn 30.250 19.500 0.000\n"


def test_no_picks_give_valid_files(tmp_path: Path) -> None:
    def write(name: str) -> list[Path]:
        return WRITERS[name](tmp_path, "001", Detections.empty(), CONTEXT)

    assert write("csv")[0].read_text().count("\n") == 1
    assert len(star_rows(write("relion5")[0])) == 1
    assert write("coords") == []
    assert write("shrec")[0].read_text() == ""


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(
        UsageError, match=r"E80 --format star: no such format\. Fix: choose from coords, csv, relion5, shrec"
    ):
        find_writer("star")


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_leaves_the_older_files(tmp_path: Path, write: Callable[..., list[Path]]) -> None:
    before = {path: path.read_bytes() for path in write(tmp_path, "001", PICKS, CONTEXT)}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, hard))
    try:
        with pytest.raises(OutputError, match="E71"):
            write(tmp_path, "001", PICKS, CONTEXT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before

"""Picks files as training reads them: any format, many tomograms in one, and coordinates read otherwise on demand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from training.labelled import CONTEXT, picks_at

from picker_runtime.errors import UsageError
from picker_runtime.formats import WRITERS
from picker_runtime.mrc import write_mrc
from picker_training.datasets.picks import find_tomograms, owner_of, read_annotations, read_file
from picker_training.picks_section import PicksSection

SHAPES = {"ts_1": (20, 30, 40), "ts_10": (24, 36, 48)}
PLACES = np.array([[3.0, 5.0, 7.0], [12.5, 20.25, 31.0]])


@pytest.fixture
def section(tmp_path: Path) -> PicksSection:
    (tmp_path / "tomograms").mkdir()
    for name, shape in SHAPES.items():
        noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        write_mrc(tmp_path / f"tomograms/{name}.mrc", noise, 8.0)
    return PicksSection(tomograms=str(tmp_path / "tomograms"))


def write(folder: Path, form: str, stem: str, *, tomogram: str = "ts_10", ids: list[int] | None = None) -> list[Path]:
    picks = picks_at(PLACES, class_ids=np.array(ids or [0, 1], np.int32))
    context = replace(CONTEXT, tomogram=tomogram, shape=SHAPES[tomogram], voxel_size=8.0)
    return [p for p in WRITERS[form](folder, stem, picks, context) if p.name != "particles_index.star"]


def places_of(section: PicksSection, files: list[Path], name: str) -> NDArray[np.float64]:
    annotations = read_annotations(replace(section, files=tuple(map(str, files))))
    return np.array(sorted(pick.position for pick in annotations.picks if pick.tomogram == name))


@pytest.mark.parametrize("form", ["csv", "relion5", "coords", "shrec"])
def test_every_readable_format_gives_the_same_places(section: PicksSection, tmp_path: Path, form: str) -> None:
    files = write(tmp_path, form, "ts_10")
    assert np.allclose(places_of(section, files, "ts_10"), PLACES, atol=1e-3)
    names = {pick.name for pick in read_annotations(replace(section, files=tuple(map(str, files)))).picks}
    assert names == ({"1", "2"} if form == "relion5" else {"ball", "ring"})


def test_one_star_file_holds_tomograms_of_several_shapes(section: PicksSection, tmp_path: Path) -> None:
    parts = [write(tmp_path, "relion5", name, tomogram=name)[0] for name in SHAPES]
    rows = [line for line in parts[1].read_text().splitlines() if line.startswith("ts_10")]
    both = tmp_path / "both.star"
    both.write_text(parts[0].read_text().rstrip() + "\n" + "\n".join(rows) + "\n")
    for name in SHAPES:
        assert np.allclose(places_of(section, [both], name), PLACES, atol=1e-3)


def test_the_python_centre_is_one_voxel_lower(section: PicksSection, tmp_path: Path) -> None:
    (path,) = write(tmp_path, "relion5", "ts_10")
    path.write_text("\n".join(path.read_text().splitlines()[1:]))  # the first line states the centre
    assert np.allclose(places_of(replace(section, relion_centre="python"), [path], "ts_10"), PLACES - 1, atol=1e-3)


def test_a_name_with_its_suffix_is_that_tomogram(section: PicksSection, tmp_path: Path) -> None:
    (path,) = write(tmp_path, "csv", "any")
    path.write_text(path.read_text().replace("ts_10,", "ts_10.mrc,"))
    assert len(places_of(section, [path], "ts_10")) == 2


@pytest.mark.parametrize(
    ("file", "owner"),
    [
        ("ts_10_ball.coords", "ts_10"), ("ts_1_ball.coords", "ts_1"), ("ts_1.txt", "ts_1"),
        ("ts_100.txt", ""), ("a.txt", ""),
    ],
)  # fmt: skip
def test_a_file_belongs_to_the_longest_stem_it_is_named_after(file: str, owner: str) -> None:
    assert owner_of(Path(file), [*SHAPES, "ts"]) == (owner or ("ts" if file.startswith("ts") else ""))


@pytest.mark.parametrize(("file", "name"), [("ts_1_my_ball.coords", "my_ball"), ("ts_1.coords", "particle")])
def test_the_class_of_coords_is_what_follows_the_stem(
    section: PicksSection, tmp_path: Path, file: str, name: str
) -> None:
    (tmp_path / file).write_text("1 2 3\n")
    tomograms = read_annotations(section).tomograms
    (pick,) = read_file(tmp_path / file, section, tomograms)
    assert (pick.name, pick.tomogram, pick.position) == (name, "ts_1", (3.0, 2.0, 1.0))


def test_classes_are_renamed_in_lower_case(section: PicksSection, tmp_path: Path) -> None:
    (tmp_path / "ts_1.txt").write_text("Ribo 1 2 3\n1BXN 4 5 6\n")
    section = replace(section, files=(str(tmp_path / "ts_1.txt"),), renamed=("RIBO=80s",))
    assert [pick.name for pick in read_annotations(section).picks] == ["80s", "1bxn"]


@pytest.mark.parametrize(
    ("changes", "position"),
    [
        ({"scale": 2.0}, (6.0, 4.0, 2.0)),
        ({"axes": "zyx"}, (1.0, 2.0, 3.0)),
        ({"flip_z": True}, (16.0, 2.0, 1.0)),
        ({"axes": "zyx", "flip_z": True, "scale": 2.0}, (17.0, 4.0, 6.0)),
    ],
)
def test_coordinates_are_read_otherwise_on_demand(
    section: PicksSection, tmp_path: Path, changes: dict[str, object], position: tuple[float, ...]
) -> None:
    (tmp_path / "ts_1.txt").write_text("ball 1 2 3\n")
    section = replace(section, files=(str(tmp_path / "ts_1.txt"),), **changes)
    assert read_annotations(section).picks[0].position == position


@pytest.mark.parametrize(("name", "tomogram"), [("ts_1.txt", "ts_1"), ("ts_1_shrec.txt", "ts_1"), ("ts_1_2.txt", "")])
def test_a_text_list_of_another_tomogram_is_not_its_prefix_s(
    section: PicksSection, tmp_path: Path, name: str, tomogram: str
) -> None:
    (tmp_path / name).write_text("ball 1 2 3\n")
    assert read_annotations(replace(section, files=(str(tmp_path / name),))).picks[0].tomogram == tomogram


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("# object contour x y z\n1 1 10 20 30\n", "line 2: 5 columns"),
        ("ball 1 2 3\n\n10 20 30\n", "line 3: 3 columns"),
    ],
)
def test_columns_of_a_text_list_are_not_guessed(section: PicksSection, tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "ts_1.txt").write_text(text)
    annotations = read_annotations(replace(section, files=(str(tmp_path / "ts_1.txt"),)))
    (error,) = annotations.unreadable.values()
    assert (annotations.picks, error.code) == ((), 44)
    assert error.problem.startswith(problem)
    assert "model2point without -object" in error.fix


def test_a_list_with_angles_is_read(section: PicksSection, tmp_path: Path) -> None:
    (tmp_path / "ts_1.txt").write_text("class x y z\nball 1 2 3 90 0 -45\n")
    (pick,) = read_annotations(replace(section, files=(str(tmp_path / "ts_1.txt"),))).picks
    assert pick.position == (3.0, 2.0, 1.0)


def test_an_empty_star_file_is_unreadable(section: PicksSection, tmp_path: Path) -> None:
    (tmp_path / "ts_1.star").write_text("")
    (error,) = read_annotations(replace(section, files=(str(tmp_path / "ts_1.star"),))).unreadable.values()
    assert (error.code, error.problem[:8]) == (44, "0 tables")


@pytest.mark.parametrize("said", ["in the file", "by the option"])
def test_scaled_coordinates_count_from_the_centre_of_their_file(
    section: PicksSection, tmp_path: Path, said: str
) -> None:
    """A pick at the centre of RELION's Python tools stays there at every scale."""
    shape = read_annotations(section).tomograms["ts_1"].shape
    context = replace(CONTEXT, tomogram="ts_1", shape=shape, voxel_size=8.0, relion_centre="python")
    centre = np.array(shape) / 2 - 1
    path, *_ = WRITERS["relion5"](tmp_path, "ts_1", picks_at(np.array([centre])), context)
    if said == "by the option":
        path.write_text(path.read_text().split("\n", 1)[1])
        section = replace(section, relion_centre="python")
    (pick,) = read_annotations(replace(section, files=(str(path),), scale=0.5)).picks
    assert pick.position == pytest.approx(tuple(centre))


def test_equal_stems_and_empty_folders_are_refused(section: PicksSection, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="E84"):
        find_tomograms(tmp_path)
    (tmp_path / "tomograms/ts_1.rec").touch()
    with pytest.raises(UsageError, match="E81"):
        read_annotations(section)


@pytest.mark.parametrize(
    "wrong",
    [{"scale": 0.0}, {"axes": "xzy"}, {"border": (1, 2)}, {"renamed": ("a",)}, {"diameters": ("a=b",)},
     {"diameters": ("a=0",)}, {"relion_centre": "middle"}],
)  # fmt: skip
def test_senseless_sections_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PicksSection(**wrong)  # type: ignore[arg-type]


def test_what_only_has_a_tomogram_s_name_in_its_own_is_none(section: PicksSection) -> None:
    folder = Path(section.tomograms)
    for name in ("ts_1.mrc.mdoc", "ts_1.mrc~", "ts_10.mrc.txt"):
        (folder / name).write_text("")
    (folder / "packed.MRC.gz").write_bytes(b"")
    assert list(find_tomograms(folder)) == ["packed", "ts_1", "ts_10"]

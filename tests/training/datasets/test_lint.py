"""Lint: every kind of fault is found on its line with what to type, and sound picks are left alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training.labelled import SHAPE, Labelled, labelled, only

from picker_runtime.formats.csv import HEADER
from picker_runtime.mrc import write_mrc
from picker_training.datasets.findings import Finding


@pytest.mark.parametrize("form", ["csv", "relion5", "coords", "shrec"])
def test_sound_picks_are_left_alone(data: Labelled, form: str) -> None:
    data.write(data.places, form=form)
    names = {"1": 60.0, "ball": 60.0}  # a STAR file has class numbers only
    assert data.lint(diameters=names) == []


def test_a_line_out_of_bounds_is_named(data: Labelled) -> None:
    places = data.places.copy()
    places[6] = (12.0, 20.0, SHAPE[2] - 0.4)
    data.write(places)
    finding = only(data.lint())
    assert (finding.severity, finding.file, finding.line) == ("error", "one.csv", 8)
    assert "x, y, z = 71.6, 20.0, 12.0 voxels" in finding.found
    assert finding.expected == "from 0 to 71, 55, 39"


def test_the_last_voxel_reaches_half_a_voxel_beyond_its_centre(data: Labelled) -> None:
    data.write(np.vstack([data.places, [[-0.4, -0.4, SHAPE[2] - 0.6]]]))
    assert data.lint() == []


def test_swapped_axes_are_told_by_the_bounds(data: Labelled) -> None:
    deep = data.places[:, ::-1].copy()
    data.write(deep)
    finding = only(data.lint())
    assert "x and z swapped" in finding.found
    assert finding.fix == "read them so: --axes zyx"
    assert data.lint(replace(data.section, axes="zyx")) == []


def test_swapped_axes_are_told_by_density_where_all_picks_fit(data: Labelled) -> None:
    fitting = data.places[data.places[:, 2] < SHAPE[0] - 1][:, ::-1]
    assert len(fitting) >= 12
    data.write(fitting)
    finding = only(data.lint())
    assert finding.severity == "error"
    assert finding.found.startswith(f"{len(fitting)} lines: density at the picks differs by ")
    assert finding.fix == "read them so: --axes zyx"


def test_z_counted_from_above_is_told_by_density(data: Labelled) -> None:
    flipped = data.places.copy()
    flipped[:, 0] = SHAPE[0] - 1 - flipped[:, 0]
    data.write(flipped)
    assert only(data.lint()).fix == "read them so: --axes xyz --flip-z"
    assert data.lint(replace(data.section, flip_z=True)) == []


def test_a_needless_flip_is_told_too(data: Labelled) -> None:
    data.write(data.places)
    assert only(data.lint(replace(data.section, flip_z=True))).fix == "read them so: --axes xyz"


def on_nothing(data: Labelled, count: int, **changes: object) -> list[Finding]:
    data.write(np.random.default_rng(5).uniform(4, np.array(SHAPE) - 5, (count, 3)), form="shrec")
    return [f for f in data.lint(replace(data.section, **changes)) if "density" in f.found]


def test_picks_on_nothing_are_doubted_and_not_called_flipped(data: Labelled) -> None:
    finding = only(on_nothing(data, 50))
    assert (finding.severity, finding.expected) == ("warning", "particles there")
    assert finding.fix.startswith("check --scale, --axes, --flip-z and the voxel size")
    assert on_nothing(data, 49) == []


def test_background_may_lie_on_nothing_and_particles_of_unknown_size_are_not_judged(data: Labelled) -> None:
    assert on_nothing(data, 60, background=("ball",)) == []
    assert not [f for f in data.lint(diameters={}) if "density" in f.found]


def test_many_picks_on_particles_are_not_doubted(data: Labelled) -> None:
    data.write(np.repeat(data.places, 2, axis=0))
    assert not [f for f in data.lint() if "density" in f.found]


def test_doubles_are_told_with_the_first_line(data: Labelled) -> None:
    data.write(np.vstack([data.places, data.places[3] + 0.3]))
    finding = only(data.lint())
    assert (finding.severity, finding.line) == ("warning", 32)
    assert "from one.csv:5 (ball)" in finding.found


def test_two_classes_at_one_place_are_an_error(data: Labelled) -> None:
    data.write(data.places)
    data.write(data.places[:1], form="coords")
    (data.picks / "one_ball.coords").rename(data.picks / "one_ring.coords")
    finding = only(data.lint(diameters={"ball": 60.0, "ring": 60.0}))
    assert (finding.severity, finding.file, finding.line) == ("error", "one_ring.coords", 1)


@pytest.mark.parametrize(("apart", "count"), [(2.9, 1), (3.1, 0)])
def test_overlap_begins_at_half_the_mean_diameter(data: Labelled, apart: float, count: int) -> None:
    data.write(np.vstack([data.places, data.places[0] + (0, 0, apart)]))
    findings = data.lint()
    assert len(findings) == count
    assert all(f.severity == "warning" and f.found.startswith("overlap") for f in findings)


def test_an_unexpected_class_is_told_with_the_near_one(data: Labelled) -> None:
    data.write(data.places)
    finding = only(data.lint(classes=("balls", "ring")))
    assert (finding.severity, finding.line) == ("error", 2)
    assert finding.found == "class 'ball' in 30 lines"
    assert finding.fix.startswith("--class ball=balls")


def test_a_name_that_is_no_name_is_told(data: Labelled) -> None:
    row = "one,My ribosome,1,10,20,30,0,0,0,250\n"
    (data.picks / "one.csv").write_text(f"{HEADER}\n{row}")
    assert only(data.lint()).fix == "rename it: --class 'my ribosome=NAME'"
    assert data.lint(replace(data.section, renamed=("My ribosome=ribosome",))) == []


def test_a_class_without_a_diameter_is_a_warning(data: Labelled) -> None:
    data.write(data.places, form="coords")
    assert only(data.lint(diameters={})).fix == "--diameter ball=ANGSTROM"


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"ignored": ("bal",)}, "--ignore bal"), ({"background": ("bal",)}, "--background bal"),
     ({"renamed": ("bal=BALLS",)}, "--class bal=balls")],
)  # fmt: skip
def test_options_that_name_no_class_there_is_are_told(data: Labelled, changes: dict[str, object], said: str) -> None:
    data.write(data.places)
    finding = only(data.lint(replace(data.section, **changes)))
    assert (finding.severity, finding.file, finding.expected) == ("warning", said, "one of ball")


def test_a_name_of_other_bytes_is_shown_escaped(data: Labelled) -> None:
    (data.picks / "one.txt").write_bytes("prot\xe9ine\x07 10 20 30\n".encode("latin-1"))
    str(only(data.lint(diameters={"ball": 60.0}))).encode("ascii")


def test_a_broken_line_is_told_with_its_number(data: Labelled) -> None:
    (data.picks / "one_ball.coords").write_text("1 2 3\n4 5\n")
    finding = data.lint()[0]
    assert (finding.severity, finding.line, finding.found) == ("error", 2, "2 columns, expected x y z")


def test_tomograms_that_cannot_be_used(data: Labelled, tmp_path_factory: pytest.TempPathFactory) -> None:
    tomograms = tmp_path_factory.mktemp("tomograms")
    noise = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    for name, size in (("one", 10.0), ("two", 10.5), ("unset", 1.0), ("spare", 1.0)):
        write_mrc(tomograms / f"{name}.mrc", noise, size)
    data = replace(data, tomograms=tomograms)
    for name in ("one", "two", "unset"):
        data.write(data.places[:5], form="shrec", name=name, tomogram=name)
    two, unset, spare = data.lint()
    assert (two.severity, two.file, two.found) == ("error", "two.mrc", "voxel size 10.5 A")
    assert (
        "if its picks count voxels as they are now, scale them with it, by --scale 1.05 if all do; only if" in two.fix
    )
    assert (unset.severity, unset.file) == ("error", "unset.mrc")
    assert "--voxel-size" in unset.fix
    assert (spare.severity, spare.file) == ("warning", "spare.mrc")


def test_bright_particles_are_told(data: Labelled) -> None:
    data.write(data.places)
    bright = replace(data.section, invert=True)
    finding = only(data.lint(bright))
    assert (finding.severity, finding.found, finding.fix) == ("warning", "particles look bright", "leave out --invert")


def test_bytes_that_look_wrapped_are_told(data: Labelled, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    values = np.random.default_rng(0).normal(128, 25, SHAPE).round().astype(np.uint8)
    write_mrc(folder / "one.mrc", values.view(np.int8), 10.0)
    data.write(data.places)
    section = replace(data.section, tomograms=str(folder))
    finding = only(data.lint(section))
    assert (finding.severity, finding.file) == ("warning", "one.mrc")
    assert "try --mode0 unsigned" in finding.found
    assert data.lint(replace(section, mode0="unsigned")) == []


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Labelled:
    return labelled(tmp_path_factory.mktemp("pair"), names=("one", "two"))


def test_classes_of_one_tomogram_alone_are_told_by_which_one_judges(pair: Labelled, tmp_path: Path) -> None:
    data = replace(pair, picks=tmp_path)
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text("ball 20 20 20\n" + ("ring 50 40 12\n" if name == "two" else ""))
    known = {"ball": 60.0, "ring": 60.0}
    finding = only(data.lint(diameters=known))
    assert (finding.severity, finding.file) == ("warning", "two.mrc")
    assert finding.found == "picks of ring in this tomogram alone, which judges"
    finding = only(data.lint(replace(data.section, validation="one"), diameters=known))
    assert (finding.severity, finding.file) == ("warning", "one.mrc")
    assert finding.found == "no picks of ring in this tomogram, which judges"
    assert data.lint(replace(data.section, ignored=("ring",)), diameters=known) == []


def test_a_finding_is_one_line() -> None:
    finding = Finding(severity="error", file="a.csv", line=3, found="this", expected="that", fix="--type-this")
    assert str(finding) == "error: a.csv:3: this, expected that. Fix: --type-this."

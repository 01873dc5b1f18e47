"""What names and patterns of picks files stand for, and what every option becomes in the configuration."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import typer

from picker_runtime.console import run
from picker_runtime.errors import UsageError
from picker_training.commands.grouped import takes
from picker_training.picks_options import PicksOptions
from picker_training.picks_section import PicksSection


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.csv", "a.candidates.csv", "b.csv", "a_particles.star", "particles_index.star"):
        (tmp_path / name).touch()
    return tmp_path


def files(folder: Path, *picks: str) -> list[str]:
    options = PicksOptions(tomograms=folder, picks=[str(folder / name) for name in picks])
    return [str(Path(file).relative_to(folder)) for file in options.section().files]


def test_patterns_pass_over_what_is_no_picks(folder: Path) -> None:
    assert files(folder, "*.csv", "*.star", "b.csv") == ["a.csv", "b.csv", "a_particles.star"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("a.candidates.csv", "candidates, most of which are no picks. Fix: give a.csv"), ("c.csv", "no such file"),
     ("", r"a folder. Fix: name its files"), (".", "a folder")],
)  # fmt: skip
def test_what_stands_for_no_picks_is_refused(folder: Path, name: str, words: str) -> None:
    with pytest.raises(UsageError, match=f"E80 --picks .*{words}"):
        files(folder, name)


def test_links_keep_their_names(folder: Path) -> None:
    (folder / "TS_01.mrc").symlink_to(folder / "rec_TS_01.mrc")
    (folder / "TS_01.csv").symlink_to(folder / "a.csv")
    options = PicksOptions(
        tomograms=folder / "TS_01.mrc", picks=[str(folder / "TS_01.csv")], ignore_mask=[folder / "TS_01.mrc"]
    )  # fmt: skip
    section = options.section()
    assert [Path(name).name for name in (section.tomograms, *section.files, *section.ignore_masks)] == [
        "TS_01.mrc", "TS_01.csv", "TS_01.mrc",
    ]  # fmt: skip


def test_names_are_lower_case_on_both_sides_and_of_diameters(folder: Path) -> None:
    options = PicksOptions(
        tomograms=folder, picks=[str(folder / "a.csv")], classes=["1=Ribosome"], diameter=["Ribosome=250"]
    )
    assert options.section().new_names() == {"1": "ribosome"}
    assert options.section().diameters_angstrom() == {"ribosome": 250.0}


def unusual(folder: Path) -> PicksOptions:
    """Return options of which none is at its default."""
    return PicksOptions(
        tomograms=folder, picks=[str(folder / "a.csv")], classes=["1=ribosome"], background=["Carbon"],
        ignore=["Ice"], diameter=["ribosome=250"], ignore_mask=[folder / "mask.mrc"], border=(3, 5, 7),
        voxel_size=7.5, mode0="unsigned", invert=True, scale=2.5, axes="zyx", flip_z=True, relion_centre="python",
    )  # fmt: skip


def test_every_option_reaches_the_configuration(folder: Path) -> None:
    options = unusual(folder)
    expected = PicksSection(
        tomograms=str(folder), files=(str(folder / "a.csv"),), voxel_size_angstrom=7.5, mode0="unsigned", invert=True,
        scale=2.5, axes="zyx", flip_z=True, relion_centre="python", renamed=("1=ribosome",), background=("carbon",),
        ignored=("ice",), diameters=("ribosome=250",), ignore_masks=(str(folder / "mask.mrc"),), border=(3, 5, 7),
        validation="b",
    )  # fmt: skip
    for told in (options, expected):
        assert [entry.name for entry in fields(told) if getattr(told, entry.name) == entry.default] == []
    section = options.section(validation="b")
    for entry in fields(PicksSection):
        assert getattr(section, entry.name) == getattr(expected, entry.name), entry.name
    for switch in ("invert", "flip_z"):
        off = {switch: False}
        assert replace(options, **off).section(validation="b") == replace(expected, **off)


def test_every_option_is_one_of_the_command_line(folder: Path) -> None:
    seen: list[PicksOptions] = []
    application = typer.Typer()
    application.command()(takes("own", PicksOptions)(lambda own: seen.append(own)))
    line = (
        "--tomograms {0} --picks {0}/a.csv --class 1=ribosome --background Carbon --ignore Ice --diameter ribosome=250 "
        "--ignore-mask {0}/mask.mrc --border 3 5 7 --voxel-size 7.5 --mode0 unsigned --invert --scale 2.5 --axes zyx "
        "--flip-z --relion-centre python"
    )
    assert run(application, "show", [word.format(folder) for word in line.split()]) == 0
    assert seen == [unusual(folder)]

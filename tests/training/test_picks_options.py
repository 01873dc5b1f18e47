"""What names and patterns of picks files stand for."""

from pathlib import Path

import pytest

from picker_runtime.errors import UsageError
from picker_training.picks_options import PicksOptions


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

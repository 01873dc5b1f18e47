from pathlib import Path

import pytest

from picker_runtime.errors import InputError, UsageError
from picker_runtime.outputs import check_name, check_targets, stem_of


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("tomo.mrc", "tomo"),
        ("tomo.REC", "tomo"),
        ("tomo.map.gz", "tomo"),
        ("tomo.mrc.bz2", "tomo"),
        ("tomo_10.00Apx.mrc", "tomo_10.00Apx"),
        ("tomo.rec.mrc", "tomo"),
        ("tomo.tif", "tomo.tif"),
        ("001", "001"),
        (".mrc", ".mrc"),
    ],
)
def test_a_stem_is_the_name_without_what_volumes_end_with(name: str, stem: str) -> None:
    assert stem_of(Path("folder.mrc") / name) == stem


def test_a_name_that_leaves_no_room_for_its_files_is_refused() -> None:
    check_name(Path("picks") / ("a" * 240), ())
    with pytest.raises(InputError, match=r"E47 .*names of 256 bytes, at most 255"):
        check_name(Path("picks") / ("a" * 241), ())


@pytest.mark.parametrize("target", ["pic\udce9/a", "picks/b\udce9"])
def test_a_name_that_no_star_file_can_hold_is_refused_for_it(target: str) -> None:
    check_name(Path(target), ("csv", "coords"))
    with pytest.raises(InputError, match="E47"):
        check_name(Path(target), ("csv", "relion5"))


def test_targets_in_different_folders_do_not_meet() -> None:
    check_targets([(Path("a"), Path("x/a")), (Path("b"), Path("y/a")), (Path("c"), Path("x/b"))])


@pytest.mark.parametrize("targets", [("x/a", "x/a"), ("x/a", "x/a.candidates")])
def test_targets_that_meet_are_named(targets: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match=r"E81 second\.mrc: and first\.mrc would both be written"):
        check_targets([(Path("first.mrc"), Path(targets[0])), (Path("second.mrc"), Path(targets[1]))])

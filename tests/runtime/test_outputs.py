from pathlib import Path

import pytest

from picker_runtime.errors import UsageError
from picker_runtime.outputs import check_targets, stem_of


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


def test_targets_in_different_folders_do_not_meet() -> None:
    check_targets([(Path("a"), Path("x/a")), (Path("b"), Path("y/a")), (Path("c"), Path("x/b"))])


@pytest.mark.parametrize("targets", [("x/a", "x/a"), ("x/a", "x/a.candidates")])
def test_targets_that_meet_are_named(targets: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match=r"E81 second\.mrc: and first\.mrc would both be written"):
        check_targets([(Path("first.mrc"), Path(targets[0])), (Path("second.mrc"), Path(targets[1]))])

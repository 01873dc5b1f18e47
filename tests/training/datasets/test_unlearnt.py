"""Ignore masks and borders that hide the picks to learn from are told before training begins."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from training.labelled import SHAPE, VOXEL_SIZE, Labelled, only

from picker_runtime.mrc import write_mrc
from picker_training.picks_section import PicksSection

Index = tuple[slice | NDArray[np.intp], ...]


def masked(data: Labelled, path: Path, ignored: Index, shape: tuple[int, ...] = SHAPE) -> PicksSection:
    """Return the configuration with a mask that ignores a part of the tomogram."""
    mask = np.zeros(shape, np.int8)
    mask[ignored] = 1
    write_mrc(path, mask, VOXEL_SIZE)
    return replace(data.section, ignore_masks=(str(path),))


@pytest.fixture
def mask(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("masks") / "one.mrc"


def test_a_mask_of_the_sample_ignores_every_pick(data: Labelled, mask: Path) -> None:
    data.write(data.places)
    finding = only(data.lint(masked(data, mask, (slice(None),))))
    assert (finding.severity, finding.file) == ("error", "one.mrc")
    assert finding.found == "30 of 30 picks of ball lie where nothing is learnt (--ignore-mask one.mrc)"
    assert finding.fix == "turn the mask over, it is 0 where particles are learnt"


def test_a_border_in_the_order_x_y_z_hides_every_pick(data: Labelled) -> None:
    data.write(data.places)
    finding = only(data.lint(replace(data.section, border=(0, 0, 33))))
    assert finding.severity == "warning"
    assert "(--border 0 0 33)" in finding.found
    finding = only(data.lint(replace(data.section, border=(0, 0, 36))))
    assert (finding.severity, finding.fix) == ("error", "give --border as Z Y X")


def test_a_border_reaches_as_far_as_it_says(data: Labelled) -> None:
    data.write(np.array([[4.6, 20.0, 20.0], [SHAPE[0] - 5.6, 20.0, 40.0]]))
    assert data.lint(replace(data.section, border=(5, 0, 0))) == []
    assert "2 of 2 picks" in only(data.lint(replace(data.section, border=(6, 0, 0)))).found


@pytest.mark.parametrize(("hidden", "count"), [(6, 0), (7, 1)])
def test_a_fifth_of_a_class_may_be_hidden(data: Labelled, mask: Path, hidden: int, count: int) -> None:
    data.write(data.places)
    section = masked(data, mask, tuple(np.rint(data.places[:hidden]).astype(int).T))
    assert [f.severity for f in data.lint(section)] == ["warning"] * count


def test_the_ignored_may_lie_where_nothing_is_learnt(data: Labelled, mask: Path) -> None:
    data.write(data.places)
    section = masked(data, mask, (slice(None),))
    assert data.lint(replace(section, ignored=("ball",))) == []


def test_a_mask_of_another_shape_is_told(data: Labelled, mask: Path) -> None:
    data.write(data.places)
    finding = only(data.lint(masked(data, mask, (slice(None),), (16, 56, 72))))
    assert (finding.severity, finding.file, finding.fix) == ("error", "one.mrc", "make a mask of the tomogram's shape")


def test_a_mask_that_is_not_there_is_told(data: Labelled) -> None:
    data.write(data.places)
    finding = only(data.lint(replace(data.section, ignore_masks=("absent.mrc",))))
    assert (finding.severity, finding.file) == ("error", "absent.mrc")


def test_without_picks_of_a_tomogram_masks_are_nobody_s(data: Labelled, mask: Path) -> None:
    data.write(data.places, tomogram="other")
    assert [f.severity for f in data.lint(masked(data, mask, (slice(None),)))] == ["error", "warning"]


def test_the_mask_of_a_tomogram_whose_picks_name_another_hides_no_finding(
    data: Labelled, mask: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tomograms = tmp_path_factory.mktemp("tomograms")
    for name in ("one", "two"):
        write_mrc(tomograms / f"{name}.mrc", np.random.default_rng(0).normal(size=SHAPE).astype(np.float32), VOXEL_SIZE)
    data = replace(data, tomograms=tomograms)
    data.write(data.places[:5], name="list", tomogram="one_")
    data.write(data.places[:5], name="two", tomogram="two")
    findings = data.lint(masked(data, mask, (0,)))
    assert [f.found for f in findings if f.severity == "error"] == ["5 lines of tomogram 'one_'"]

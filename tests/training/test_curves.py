import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from picker_runtime.errors import OutputError, UsageError
from picker_training import curves
from picker_training.curves import Panel, draw

LINE = [(0.0, 0.0), (1.0, 2.0), (2.0, 1.0)]


def test_a_panel_holds_its_curves_and_dots() -> None:
    axes = Figure().subplots()
    curves._draw(Panel(curves={"a": LINE, "published x": LINE[:2]}, x_label="step", y_label="loss"), axes)
    line, dots = axes.get_lines()
    assert line.get_xydata().tolist() == [list(point) for point in LINE]
    assert dots.get_xydata().tolist() == [list(point) for point in LINE[:2]]
    assert (line.get_linestyle(), line.get_marker()) == ("-", "None")
    assert (dots.get_linestyle(), dots.get_marker()) == ("None", "o")
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale()) == ("step", "loss", "linear")


def test_an_axis_may_be_logarithmic_and_a_range_given() -> None:
    axes = Figure().subplots()
    curves._draw(Panel(curves={"a": LINE[1:]}, x_label="SNR", logarithmic=True, y_range=(0.0, 3.0)), axes)
    assert axes.get_xscale() == "log"
    assert axes.get_ylim() == (0.0, 3.0)
    assert axes.get_lines()[0].get_marker() == "."


def test_panels_stand_one_below_the_other(tmp_path: Path) -> None:
    panel = Panel(curves={"a": LINE}, x_label="x")
    draw([panel], tmp_path / "one.png")
    draw([panel, Panel(curves={}, x_label="nothing")], tmp_path / "two.png")
    one, two = imread(tmp_path / "one.png"), imread(tmp_path / "two.png")
    assert two.shape[0] == 2 * one.shape[0]
    blue = np.all(np.abs(one[..., :3] - (0.122, 0.467, 0.706)) < 0.02, axis=-1)
    assert blue.sum() > 300
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["one.png", "two.png"]


def test_a_folder_that_is_not_there_is_ours_to_tell(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="E70"):
        draw([Panel(curves={"a": LINE}, x_label="x")], tmp_path / "no" / "one.png")


def test_matplotlib_is_asked_for_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"picker-cryoet\[training\]"):
        draw([Panel(curves={"a": LINE}, x_label="x")], tmp_path / "one.png")
    assert list(tmp_path.iterdir()) == []

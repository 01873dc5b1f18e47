"""Belonging: picks of tomograms that are not there, and tomograms without picks, are told without drowning the rest."""

from pathlib import Path

import numpy as np
import pytest
from training.labelled import SHAPE, Labelled, only

from picker_runtime.formats.csv import HEADER
from picker_runtime.mrc import write_mrc


def test_picks_of_an_absent_tomogram_and_a_tomogram_without_picks(data: Labelled) -> None:
    data.write(data.places, tomogram="on")
    error, warning = data.lint()
    assert (error.line, error.found) == (2, "30 lines of tomogram 'on'")
    assert error.fix.endswith("or leave these lines out; if it is one under another name, write that")
    assert (warning.severity, warning.found) == ("warning", "1 tomogram (one) without picks")


def test_a_file_named_after_no_tomogram_is_told(data: Labelled) -> None:
    data.write(data.places, form="coords", name="other")
    assert data.lint()[0].fix == "name the file after its tomogram, as one.coords"


def write_rows(data: Labelled, names: list[str]) -> None:
    rows = [f"{name},ball,1,{10 + i},20,30,0,0,0,60" for i, name in enumerate(names)]
    (data.picks / "all.csv").write_text("\n".join([HEADER, *rows]) + "\n")


def test_picks_of_tomograms_that_are_elsewhere_are_one_error_each_where_nothing_is_here(data: Labelled) -> None:
    write_rows(data, ["xyz", "abc", "xyz"])
    first, second, _ = data.lint()
    assert [f.found for f in (first, second)] == ["2 lines of tomogram 'xyz'", "1 line of tomogram 'abc'"]
    assert {f.severity for f in (first, second)} == {"error"}
    assert first.fix == "give the folder with its tomogram, --tomograms DIR, or leave these lines out"


@pytest.fixture
def series(data: Labelled, tmp_path_factory: pytest.TempPathFactory) -> Labelled:
    """A folder of the tomograms ts_01 to ts_06 of noise."""
    folder = tmp_path_factory.mktemp("series")
    noise = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    for number in range(1, 7):
        write_mrc(folder / f"ts_{number:02}.mrc", noise, 10.0)
    return Labelled(tomograms=folder, picks=data.picks, places=data.places)


def test_a_file_of_the_whole_data_set_is_one_warning(series: Labelled) -> None:
    names = [f"ts_{number:02}" for number in range(1, 51)]
    write_rows(series, [*names, "us_01"])
    warning = only(series.lint())
    assert (warning.severity, warning.file, warning.line) == ("warning", "all.csv", 8)
    assert warning.found == "45 lines of 45 tomograms (ts_07, ts_08, ts_09, ...)"


@pytest.mark.parametrize("slip", ["TS_06", "ts_6", "ts06", "Ts-6"])
def test_a_slip_in_a_name_is_an_error_still(series: Labelled, slip: str) -> None:
    write_rows(series, ["ts_01", "ts_02", "ts_03", "ts_04", "ts_05", slip, "ts_09"])
    error, *warnings = series.lint()
    assert (error.severity, error.found) == ("error", f"1 line of tomogram {slip!r}")
    assert "if it is ts_06 under another name" in error.fix
    assert [f.severity for f in warnings] == ["warning", "warning"]


def test_tomograms_without_picks_are_one_warning_after_all_others(series: Labelled) -> None:
    (series.picks / "ts_05.coords").write_text("30 20 20\n")
    write_mrc(series.tomograms / "zz.mrc", np.ones(SHAPE, np.float32), 1.0)
    findings = series.lint()
    assert [Path(f.file).name for f in findings] == ["ts_05.coords", "zz.mrc", "--tomograms"]
    assert findings[-1].found == "5 tomograms (ts_01, ts_02, ts_03, ...) without picks"

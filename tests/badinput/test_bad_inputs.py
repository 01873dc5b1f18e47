"""Every bad input is refused with its code on one line; every odd one is read."""

import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from badinput.corpus import BAD, NOISE, ODD, UNMEASURABLE, Case
from badinput.mrc_block import header

from picker_runtime.errors import CODES, InputError
from picker_runtime.geometry import Box
from picker_runtime.intensity import NormalisedSource, measure
from picker_runtime.tomogram import Tomogram


def refusal(case: Case, folder: Path, *, measured: bool = False) -> InputError:
    path = case.write(folder)
    with pytest.raises(InputError) as caught, Tomogram.open(path) as tomogram:
        if measured:
            measure(tomogram)
    return caught.value


def check_line(error: InputError, case: Case) -> None:
    line = str(error)
    assert error.code == case.code in CODES
    assert line.isprintable() and "\n" not in line
    assert line.startswith(f"E{case.code} ") and "Fix: " in line and error.subject and error.fix


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name.replace("\0", "NUL"))
def test_refused_on_opening_with_one_line_and_no_allocation(case: Case, tmp_path: Path) -> None:
    path = case.write(tmp_path)
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(InputError) as caught:
            Tomogram.open(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    check_line(caught.value, case)
    assert peak < 2**20
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize("case", UNMEASURABLE, ids=lambda case: case.name)
def test_refused_on_measuring(case: Case, tmp_path: Path) -> None:
    check_line(refusal(case, tmp_path, measured=True), case)


@pytest.mark.parametrize("case", ODD, ids=lambda case: ascii(case.name))
def test_odd_files_are_read(case: Case, tmp_path: Path) -> None:
    with Tomogram.open(case.write(tmp_path)) as tomogram:
        source = NormalisedSource(tomogram, measure(tomogram))
        values = tomogram.read(Box.whole(tomogram.shape))
        tomogram.check_unchanged()
    finite = np.isfinite(values)
    assert np.array_equal(values[finite], NOISE[finite])
    assert abs(source.mean) < 0.05 and abs(1 / source.inverse_std - 1) < 0.05
    assert all(warning.isprintable() for warning in tomogram.warnings)
    assert all(label.isprintable() for label in tomogram.header["labels"])


def test_the_corpus_covers_what_can_happen_on_opening() -> None:
    assert {case.code for case in BAD + UNMEASURABLE} == {10, 11, 12, 20, 21, 22, 31, 32, 33, 34, 35, 36, 41, 42}
    assert len(BAD) + len(UNMEASURABLE) + len(ODD) >= 120


@pytest.mark.parametrize(
    ("name", "hint"), [("gzip file", "gunzip"), ("TIFF little file", "tif2mrc"), ("mode 101", "newstack")]
)
def test_the_fix_names_the_command(name: str, hint: str, tmp_path: Path) -> None:
    (case,) = (case for case in BAD if case.name == name)
    assert hint in refusal(case, tmp_path).fix


@pytest.mark.parametrize("order", ["<", ">"])
def test_absurd_dimensions_are_quoted_in_the_byte_order_of_the_stamp(order: str, tmp_path: Path) -> None:
    (tmp_path / "a.mrc").write_bytes(header(order=order, shape=(20, 0, 28)))
    with pytest.raises(InputError, match=r"E20 a\.mrc: absurd header: 28 x 0 x 20 voxels"):
        Tomogram.open(tmp_path / "a.mrc")


def test_a_truncation_by_the_extended_header_is_diagnosed(tmp_path: Path) -> None:
    (case,) = (case for case in BAD if case.name == "short by the extended header")
    error = refusal(case, tmp_path)
    assert "2,048" in error.problem and "extended header" in error.problem and "nsymbt" in error.fix

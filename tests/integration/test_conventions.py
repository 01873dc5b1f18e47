"""A blob's place comes back from every format through the whole command line, within a tenth of a voxel."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np
import pytest
from golden.blob_graph import volume_with_blobs
from integration.command_line import picker
from numpy.typing import NDArray

from picker_runtime.formats import FORMATS
from picker_runtime.mrc import write_mrc

SHAPE = (34, 45, 61)  # z, y, x: all different, even and odd
VOXEL_SIZE = 9.9
Places = NDArray[np.float64]
"""`(n, 3) float64, zyx, voxels`, best pick first."""


def from_csv(folder: Path) -> Places:
    with (folder / "one.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    voxels = np.array([[float(row[axis]) for axis in "zyx"] for row in rows])
    angstrom = np.array([[float(row[f"{axis}_angstrom"]) for axis in "zyx"] for row in rows])
    assert np.allclose(voxels * VOXEL_SIZE, angstrom, atol=0.01)
    return voxels


def from_relion(folder: Path, *, centre: float = 0.0) -> Places:
    block = gemmi.cif.read(str(folder / "one_particles.star")).find_block("particles")
    names = [f"_rlnCenteredCoordinate{axis}Angst" for axis in "ZYX"]
    angstrom = np.array([[float(value) for value in row] for row in block.find(names)])
    return angstrom / VOXEL_SIZE + np.array(SHAPE) / 2 - centre


def from_coords(folder: Path) -> Places:
    return np.concatenate([np.loadtxt(path, ndmin=2)[:, ::-1] for path in sorted(folder.glob("one_*.coords"))])


def from_shrec(folder: Path) -> Places:
    rows = [line.split()[1:4] for line in (folder / "one_shrec.txt").read_text().splitlines()]
    return np.array(rows, float)[:, ::-1]


READERS: dict[str, Callable[[Path], Places]] = {
    "csv": from_csv, "relion5": from_relion, "coords": from_coords, "shrec": from_shrec,
}  # fmt: skip


def detect(folder: Path, model: Path, places: list[tuple[float, float, float]], *options: object) -> Path:
    """Detect in a volume with a blob at each place, best first, and return the folder of picks."""
    amplitudes = np.linspace(4.8, 4.0, len(places))
    write_mrc(folder / "one.mrc", volume_with_blobs(SHAPE, places, amplitudes), VOXEL_SIZE)
    formats = [word for name in FORMATS for word in ("--format", name)]
    outcome = picker("detect", folder / "one.mrc", "-o", folder / "picks", "--model", model, *formats, *options)
    assert outcome.status == 0
    return folder / "picks"


def test_every_format_has_its_independent_reader_here() -> None:
    assert set(READERS) == set(FORMATS)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("place", [(16.0, 20.0, 40.0), (9.3, 31.6, 11.45), (25.5, 7.5, 52.5)])
def test_every_format_gives_a_blob_s_place_back(
    name: str, place: tuple[float, float, float], tmp_path: Path, golden_model: Path
) -> None:
    assert READERS[name](detect(tmp_path, golden_model, [place])) == pytest.approx(np.array([place]), abs=0.1)


@pytest.mark.parametrize("name", ["csv", "relion5", "shrec"])
def test_picks_are_written_best_first(name: str, tmp_path: Path, golden_model: Path) -> None:
    places = [(16.0, 20.0, 40.0), (8.0, 30.0, 10.0), (24.0, 10.0, 20.0)]
    assert READERS[name](detect(tmp_path, golden_model, places)) == pytest.approx(np.array(places), abs=0.1)


def test_the_python_centre_of_relion_is_one_voxel_off(tmp_path: Path, golden_model: Path) -> None:
    place = (16.0, 20.0, 40.0)
    folder = detect(tmp_path, golden_model, [place], "--relion-centre", "python")
    assert from_relion(folder, centre=1.0) == pytest.approx(np.array([place]), abs=0.1)


def test_a_single_bright_voxel_is_found_where_it_is(tmp_path: Path, golden_model: Path) -> None:
    volume = volume_with_blobs(SHAPE, [])
    volume[17, 21, 43] += 30
    write_mrc(tmp_path / "one.mrc", volume, VOXEL_SIZE)
    options = ["-o", tmp_path / "picks", "--model", golden_model, "--threshold", 0.1]
    assert picker("detect", tmp_path / "one.mrc", *options).status == 0
    assert from_csv(tmp_path / "picks")[:1] == pytest.approx(np.array([(17, 21, 43)]), abs=0.1)


def test_the_record_keeps_the_origin_apart(tmp_path: Path, golden_model: Path) -> None:
    folder = detect(tmp_path, golden_model, [(16.0, 20.0, 40.0)])
    record = json.loads((folder / "one.json").read_text())
    assert record["tomogram"]["shape"] == list(SHAPE)
    assert record["tomogram"]["path"] == "../one.mrc"
    assert record["tomogram"]["header"]["origin_angstrom"] == [0, 0, 0]

"""Folders in the layout of the SHREC challenges: a list of particles and volumes of equal shape.

    model_0/
        particle_locations.txt      `class x y z a b c`: voxels of the slab, ZXZ Euler angles in degrees
        reconstruction.mrc          the tomogram
        grandmodel.mrc              the noise-free density
        class_mask.mrc              voxel -> class number, 0 = background
        occupancy_mask.mrc          voxel -> particle number = line of the list from 1, 0 = background
        class_bbox.mrc occupancy_bbox.mrc

Each file may be compressed (`.gz`); other files are ignored. The folders of SHREC 2019 name the list
`particle_locations_model_0.txt`, with columns `class z y x`, and the occupancy mask `hitbox_0.mrc`: both are found.
"""

import gzip
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from picker_runtime.atomic import atomic_writer, check_writable_folder
from picker_runtime.errors import InputError
from picker_runtime.formats.shrec import read_locations
from picker_runtime.geometry import Box
from picker_runtime.mrc import MrcFile, write_mrc
from picker_runtime.tomogram import Tomogram
from picker_training.datasets.truth import Truth

TOMOGRAM = "reconstruction.mrc"
LOCATIONS = "particle_locations.txt"
VOLUMES = (
    "reconstruction", "grandmodel", "class_mask", "occupancy_mask", "occupancy_mask_open", "class_bbox",
    "occupancy_bbox",
)  # fmt: skip
NAMES_2019 = {"particle_locations": "particle_locations_model", "occupancy_mask": "hitbox"}
"""What SHREC 2019 calls a file; the tomogram's number and the suffix follow."""


Order = Literal["xyz", "zyx"]


def order_of(year: int | None) -> Order | None:
    """Return the order of a list's columns in a year of the challenge; None where the list's name has to tell."""
    return None if not year else "zyx" if year == 2019 else "xyz"


def read_truth(folder: Path, *, order: Order | None = None) -> Truth:
    """Read the particle list of a folder; columns after the class and the position are ignored.

    order: of the columns; SHREC 2019 writes `class z y x`, the later years and this program `class x y z`. None:
    that of 2019 if the list has its name of 2019.

    Raises:
        InputError: E46, if the list is absent or a line is not `class x y z ...`; blank lines but at the end, headers
            and comments are refused too, because a particle's number is its line's.
    """
    subject = f"{folder.name}/{LOCATIONS}"
    try:
        with open_file(folder, LOCATIONS) as path:
            old = path.name.startswith(NAMES_2019["particle_locations"])
            rows = read_locations(path, order=order or ("zyx" if old else "xyz"))
    except InputError as error:
        raise InputError(46, subject, error.problem, error.fix) from error
    for number, row in enumerate(rows, start=1):
        if row.line != number:
            problem = f"line {number} is not a particle, and the line gives a particle's number"
            raise InputError(46, subject, problem, "remove blank lines, headers and comments")
    positions = np.array([row.position for row in rows], np.float64).reshape(-1, 3)
    return Truth(names=tuple(row.name for row in rows), positions=positions)


def read_occupancy_mask(folder: Path, truth: Truth, *, name: str = "occupancy_mask") -> NDArray[np.int32]:
    """Read which particle each voxel belongs to: `(D, H, W) int32, zyx`, 0 = background, else the line in the list.

    name: of the volume, `occupancy_mask_open` for the masks that were not closed.

    Raises:
        InputError: E46, if the mask is absent or holds anything but the numbers of the truth's particles.
    """
    return _read_numbers(folder, name, highest=len(truth))


def read_class_mask(folder: Path) -> NDArray[np.int32]:
    """Read which class each voxel belongs to: `(D, H, W) int32, zyx`, 0 = background.

    Raises:
        InputError: E46, if the mask is absent or holds anything but whole numbers from 0.
    """
    return _read_numbers(folder, "class_mask", highest=np.iinfo(np.int16).max)


def read_voxel_size(folder: Path) -> float:
    """Return the voxel size in angstrom that the occupancy mask states.

    Raises:
        InputError: E46, if there is no occupancy mask; E31 or E32, if it states no usable voxel size.
    """
    with open_file(folder, "occupancy_mask.mrc") as path, Tomogram.open(path) as mask:
        return mask.voxel_size


def write_truth(
    folder: Path,
    truth: Truth,
    *,
    voxel_size: float,
    volumes: Mapping[str, NDArray[Any]],
    angles: NDArray[np.float64] | None = None,
    compress: bool = False,
) -> None:
    """Write a folder in SHREC layout; the list comes last, so a folder that has one is complete.

    voxel_size: angstrom.
    volumes: name out of `VOLUMES` -> `(D, H, W), zyx`; whole numbers are stored as int16, or uint16 if they need it.
    angles: `(n, 3) float64, degrees`, the columns `a b c`; 0 if absent.
    compress: write `.mrc.gz`, the same bytes for the same input.

    Raises:
        ValueError: if a volume's name is unknown.
        OutputError: E70 or E71, if the folder cannot be written.
    """
    if unknown := set(volumes) - set(VOLUMES):
        raise ValueError(f"unknown volumes {sorted(unknown)}, expected some of {VOLUMES}")
    check_writable_folder(folder)
    for name, volume in volumes.items():
        with ExitStack() as stack:
            stream: Any = stack.enter_context(atomic_writer(folder / f"{name}.mrc{'.gz' * compress}", "wb"))
            if compress:
                stream = stack.enter_context(gzip.GzipFile("", "wb", fileobj=stream, mtime=0))
            write_mrc(stream, _storable(volume), voxel_size)
    rows = np.hstack([truth.positions[:, ::-1], np.zeros((len(truth), 3)) if angles is None else angles])
    lines = (
        f"{name} {x:.3f} {y:.3f} {z:.3f} {a:.4f} {b:.4f} {c:.4f}\n"
        for name, (x, y, z, a, b, c) in zip(truth.names, rows, strict=True)
    )
    with atomic_writer(folder / LOCATIONS, "w") as stream:
        stream.writelines(lines)


def _storable(volume: NDArray[Any]) -> NDArray[Any]:
    """Return whole numbers in the smallest type of an MRC file that no reader mistakes."""
    if not np.issubdtype(volume.dtype, np.integer):
        return volume
    return volume.astype(np.uint16 if volume.max(initial=0) > np.iinfo(np.int16).max else np.int16)


def _read_numbers(folder: Path, name: str, *, highest: int) -> NDArray[np.int32]:
    with open_file(folder, f"{name}.mrc") as path, MrcFile(path) as volume:
        values = volume.read(Box.whole(volume.header.shape))
    if not np.all((values >= 0) & (values <= highest) & (values == np.rint(values))):
        problem = f"values {values.min():g} to {values.max():g}, expected whole numbers 0 to {highest}"
        raise InputError(46, f"{folder.name}/{name}.mrc", problem, "use the mask that belongs to the particle list")
    return values.astype(np.int32)


@contextmanager
def open_file(folder: Path, name: str) -> Iterator[Path]:
    """Give the path of a file of the folder, decompressed if need be for as long as the block lasts.

    name: as SHREC 2020 and 2021 have it, without `.gz`.

    Raises:
        InputError: E46, as `find_file`, or if it cannot be decompressed.
    """
    found = find_file(folder, name)
    if found.suffix != ".gz":
        yield found
        return
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / found.stem
        try:
            with gzip.open(found) as source, path.open("wb") as target:
                shutil.copyfileobj(source, target)
        except (OSError, EOFError, zlib.error) as error:
            problem = f"cannot be decompressed ({error})"
            raise InputError(46, f"{folder.name}/{found.name}", problem, "copy it again") from error
        yield path


def find_file(folder: Path, name: str) -> Path:
    """Return the path of a file of the folder: plain, compressed, or under the name that SHREC 2019 gave it.

    Raises:
        InputError: E46, if there is none or, under the names of 2019, more than one.
    """
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            return path
    stem, suffix = name.rsplit(".", 1)
    base = NAMES_2019.get(stem, stem)
    pattern = re.compile(rf"{base}(_model)?_\d+\.{suffix}(\.gz)?")
    found = sorted(path for path in folder.glob(f"{base}_*") if pattern.fullmatch(path.name))
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:3])
        raise InputError(46, f"{folder.name}/{name}", f"not found, but {names}", "keep one tomogram in a folder")
    if not found:
        raise InputError(46, f"{folder.name}/{name}", "not found", "use a folder in SHREC layout")
    return found[0]

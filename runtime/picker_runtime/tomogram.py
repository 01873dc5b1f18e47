"""Tomogram: one volume from a file or an array, checked once, read in boxes that may reach outside it."""

import math
import os
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from picker_runtime.errors import InputError, UsageError, one_line
from picker_runtime.file_voxels import FileVoxels
from picker_runtime.geometry import Box, Triple
from picker_runtime.memory_file import MemoryFile
from picker_runtime.mrc import ByteSign, MrcFile, MrcHeader

MIN_AXIS = 16
MIN_VOXEL_SIZE = 0.5
MAX_VOXEL_SIZE = 100.0
AXIS_TOLERANCE = 0.01
MODEL_TOLERANCE = 0.02


class _Voxels(Protocol):
    def read(self, box: Box) -> NDArray[np.float32]: ...
    def raw(self) -> FileVoxels: ...
    def check_unchanged(self) -> None: ...
    def close(self) -> None: ...


class Tomogram:
    """One volume; a context manager. Made by `open` or `from_array`.

    name: the file's name. shape: zyx. voxel_size: angstrom, the same for all axes.
    warnings: what a user should know, to which later steps add.
    header: what the file said, ready for JSON; empty for an array.
    sign_is_assumed: whether nothing says if the bytes of the file are signed.
    """

    def __init__(self, voxels: _Voxels, *, name: str, shape: Triple, voxel_size: float) -> None:
        self._voxels = voxels
        self.name = name
        self.shape = shape
        self.voxel_size = voxel_size
        self.warnings: list[str] = []
        self.header: dict[str, Any] = {}
        self.sign_is_assumed = False

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, voxel_size: float | None = None, mode0: ByteSign | None = None
    ) -> Self:
        """Open an MRC file (`.mrc`, `.rec`, `.map`); a given voxel size wins over the file's, mode0 over its flag.

        Raises:
            InputError: E10 to E36 if the file cannot be used as it is.
            UsageError: E80 if an option makes no sense.
        """
        if mode0 not in (None, "signed", "unsigned"):
            raise UsageError(80, "--mode0", f"'{mode0}' is not known", "give signed or unsigned")
        file = MrcFile(path, mode0=mode0)
        try:
            _check_header(file.header, file.name)
            size, warnings = _choose_voxel_size(file.header.voxel_size_angstrom, voxel_size, file.name)
        except BaseException:
            file.close()
            raise
        tomogram = cls(file, name=file.name, shape=file.header.shape, voxel_size=size)
        tomogram.warnings += [*file.header.warnings, *warnings, *_shape_warnings(file.header)]
        tomogram.header = _provenance(file.header)
        tomogram.sign_is_assumed = file.header.sign_is_assumed
        return tomogram

    @classmethod
    def from_array(cls, array: NDArray[Any], voxel_size: float, name: str = "array") -> Self:
        """Take a volume `(nz, ny, nx)`, zyx, of real numbers as it is, without a copy; `voxel_size` in angstrom.

        Raises:
            InputError: E22, E33, E34 or E36 if it is not a volume of real numbers or is too small.
            UsageError: E80 if the voxel size is impossible.
        """
        if array.dtype.kind not in "iuf":
            raise InputError(22, name, f"voxels of type {array.dtype}, not real numbers", "convert it to float32")
        if array.ndim != 3:
            code = 33 if array.ndim < 3 else 34
            raise InputError(code, name, f"{array.ndim} axes, a volume has 3", "give an array of z, y, x")
        nz, ny, nx = array.shape
        _check_shape((nz, ny, nx), name)
        return cls(_ArrayVoxels(array, name), name=name, shape=(nz, ny, nx), voxel_size=_given_voxel_size(voxel_size))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._voxels.close()

    def read(self, box: Box) -> NDArray[np.float32]:
        """Return the voxels of a box, `(D, H, W) float32`, zyx, as stored, non-finite ones included.

        Outside the volume they are reflected without repeating the edge voxel, as often as needed.

        Raises:
            InputError: E12 if the disk fails, E13 if the file became shorter.
        """
        if not box.voxels:
            return np.zeros(box.shape, np.float32)
        indices = [_reflected(a, b, n) for a, b, n in zip(box.start, box.stop, self.shape, strict=True)]
        (z0, z1), (y0, y1), (x0, x1) = ((int(index.min()), int(index.max()) + 1) for index in indices)
        values = self._voxels.read(Box((z0, y0, x0), (z1, y1, x1)))
        for axis, index in enumerate(indices):
            if box.start[axis] < 0 or box.stop[axis] > self.shape[axis]:
                values = values.take(index - index.min(), axis)
        return values

    def raw(self) -> FileVoxels:
        """Return the voxels as a file stores them, until this is closed; those of an array are copied to one in memory.

        Raises:
            InputError: E12 if there is no memory for the copy.
        """
        return self._voxels.raw()

    def check_unchanged(self) -> None:
        """Make sure that the file is still the one that was opened.

        Raises:
            InputError: E13 if it is not.
        """
        self._voxels.check_unchanged()


class _ArrayVoxels:
    def __init__(self, array: NDArray[Any], name: str) -> None:
        self._array = array
        self._name = name
        self._file: MemoryFile | None = None

    def read(self, box: Box) -> NDArray[np.float32]:
        with np.errstate(over="ignore", invalid="ignore"):
            values: NDArray[np.float32] = self._array[box.slices].astype(np.float32, order="C")
            return values

    def raw(self) -> FileVoxels:
        if self._file is None:
            self._file = MemoryFile(self._array, name=self._name)
        return self._file.voxels

    def check_unchanged(self) -> None:
        return None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def check_model_voxel_size(tomogram_voxel_size: float, model_voxel_size: float, *, subject: str = "tomogram") -> None:
    """Make sure that a tomogram has the voxel size (angstrom) that a model was made for, within 2 %.

    Raises:
        InputError: E30 if it has not.
    """
    if abs(tomogram_voxel_size / model_voxel_size - 1) > MODEL_TOLERANCE:
        problem = f"voxel size {tomogram_voxel_size:.4g} A, the model is for {model_voxel_size:.4g} A within 2 %"
        fix = f"rebin it to {model_voxel_size:.4g} A; only if the size is wrong, give the true one: --voxel-size"
        raise InputError(30, subject, problem, fix)


def _reflected(start: int, stop: int, length: int) -> NDArray[np.intp]:
    """Return where an axis is read for indices start..stop-1: a triangle wave of period 2 (length - 1)."""
    period = 2 * (length - 1)
    index = np.arange(start, stop) % period
    return np.minimum(index, period - index)


def _check_header(header: MrcHeader, name: str) -> None:
    if header.is_volume_stack:
        raise InputError(34, name, f"a stack of volumes (ISPG {header.ispg})", "give its volumes one by one")
    if header.shape[0] == 1:
        raise InputError(33, name, "a 2D image: one section", "give a reconstructed tomogram")
    if header.axes not in ((1, 2, 3), (0, 0, 0)):
        problem = f"axis order {header.axes}, expected (1, 2, 3): columns x, rows y, sections z"
        raise InputError(35, name, problem, "write it again in that order")
    _check_shape(header.shape, name)


def _check_shape(shape: Triple, name: str) -> None:
    if min(shape) < MIN_AXIS:
        nz, ny, nx = shape
        problem = f"{nx} x {ny} x {nz} voxels, each axis needs at least {MIN_AXIS}"
        raise InputError(36, name, problem, "reconstruct a thicker volume")


def _choose_voxel_size(stored: tuple[float, float, float], given: float | None, name: str) -> tuple[float, list[str]]:
    """Return the size to use and what to warn of: the given one wins, else the mean of a believable header."""
    z, y, x = stored
    mean = (x + y + z) / 3
    text = f"{x:.4g} x {y:.4g} x {z:.4g} A" if len({f"{v:.4g}" for v in stored}) > 1 else f"{x:.4g} A"
    fix = "give the real one: --voxel-size ANGSTROM"
    if given is not None:
        given = _given_voxel_size(given)
        differs = math.isfinite(mean) and mean > 0 and any(abs(v / given - 1) > 1e-3 for v in stored)
        return given, [f"--voxel-size {given:g} used, the header says {text}"] if differs else []
    if not all(MIN_VOXEL_SIZE <= v <= MAX_VOXEL_SIZE for v in stored):
        problem = f"voxel size {text} in the header, possible are {MIN_VOXEL_SIZE:g} to {MAX_VOXEL_SIZE:g} A"
        raise InputError(31, name, problem, fix)
    if all(math.isclose(v, 1.0, rel_tol=1e-6) for v in stored):
        raise InputError(31, name, "voxel size exactly 1 A in the header, which is probably unset", fix)
    if max(stored) / min(stored) - 1 > AXIS_TOLERANCE:
        raise InputError(32, name, f"voxel size {text} differs between the axes by more than 1 %", fix)
    return mean, []


def _given_voxel_size(value: float) -> float:
    if not MIN_VOXEL_SIZE <= value <= MAX_VOXEL_SIZE:
        problem = f"{value:g} A is not possible"
        raise UsageError(80, "--voxel-size", problem, f"give {MIN_VOXEL_SIZE:g} to {MAX_VOXEL_SIZE:g} angstrom")
    return float(value)


def _shape_warnings(header: MrcHeader) -> list[str]:
    nz, ny, nx = header.shape
    if header.ispg == 0 and nz < 120 and min(nx, ny) > 3000:
        return [f"{nx} x {ny} x {nz} voxels look like a tilt series, not like a tomogram"]
    return []


def _provenance(header: MrcHeader) -> dict[str, Any]:
    labels = [one_line(label.decode("ascii", "backslashreplace").rstrip("\0 ")) for label in header.labels]
    return {
        "mode": header.mode,
        "dtype": header.dtype.str,
        "voxel_size_angstrom": [v if math.isfinite(v) else None for v in header.voxel_size_angstrom],
        "origin_angstrom": [v if math.isfinite(v) else None for v in header.origin_angstrom],
        "ispg": header.ispg,
        "extended_header_bytes": header.nsymbt,
        "labels": [label for label in labels if label],
    }

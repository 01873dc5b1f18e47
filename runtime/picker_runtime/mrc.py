"""MRC files: a header that fits its file, with the file's voxels; and a minimal writer."""

import os
import stat
import struct
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from picker_runtime.errors import InputError
from picker_runtime.file_voxels import FileVoxels, changed, identity, unreadable
from picker_runtime.geometry import Box
from picker_runtime.mrc_header import HEADER_BYTES, SAMPLE_TYPES, ByteSign, MrcHeader, parse_header

__all__ = ["ByteSign", "MrcFile", "MrcHeader", "read_header", "write_mrc"]


class MrcFile:
    """An open MRC file whose header fits it; a context manager.

    mode0: whether bytes of mode 0 are signed; None: as IMOD's flag says, else signed.

    Raises:
        InputError: E10, E11, E12, E20, E21, E22 if the file cannot be read.
    """

    header: MrcHeader

    def __init__(self, path: str | os.PathLike[str], *, mode0: ByteSign | None = None) -> None:
        self._path = path
        self.name = Path(path).name or str(path)
        self._file = _open_regular(path, self.name)
        try:
            self._identity = identity(os.fstat(self._file.fileno()))
            size = os.fstat(self._file.fileno()).st_size
            self.header = parse_header(self._first_bytes(), size, subject=self.name, mode0=mode0)
            self.voxels = FileVoxels(
                self._file.fileno(),
                offset=self.header.data_offset,
                shape=self.header.shape,
                dtype=self.header.dtype,
                name=self.name,
            )
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; it may be closed twice."""
        self._file.close()

    def read(self, box: Box) -> NDArray[np.float32]:
        """Return the voxels of a box inside the volume, `(D, H, W) float32`, zyx, non-finite ones included.

        Raises:
            ValueError: if the box leaves the volume.
            InputError: E12 if the disk fails, E13 if the file became shorter.
        """
        return self.voxels.read(box)

    def raw(self) -> FileVoxels:
        """Return the voxels as stored."""
        return self.voxels

    def check_unchanged(self) -> None:
        """Make sure that the path still names the same bytes.

        Raises:
            InputError: E13 if inode, size or modification time differ from when the file was opened.
        """
        try:
            now = {identity(Path(self._path).stat()), identity(os.fstat(self._file.fileno()))}
        except OSError:
            now = set()
        if now != {self._identity}:
            raise changed(self.name)

    def _first_bytes(self) -> bytes:
        try:
            return os.pread(self._file.fileno(), HEADER_BYTES, 0)
        except OSError as error:
            raise unreadable(self.name, error) from error


def read_header(path: str | os.PathLike[str], *, mode0: ByteSign | None = None) -> MrcHeader:
    """Return a file's header, judged against the file's size.

    Raises:
        InputError: E10, E11, E12, E20, E21, E22 as `MrcFile`.
    """
    with MrcFile(path, mode0=mode0) as file:
        return file.header


def write_mrc(target: str | os.PathLike[str] | BinaryIO, array: NDArray[Any], voxel_size: float) -> None:
    """Write a volume `(nz, ny, nx)`, zyx, of int8, int16, uint16, float16 or float32; `voxel_size` in angstrom.

    Raises:
        ValueError: if the array is not a volume of one of these types.
    """
    modes = {np.dtype(sample): mode for mode, sample in SAMPLE_TYPES.items()}
    if array.ndim != 3 or array.dtype not in modes:
        raise ValueError(
            f"an MRC volume has 3 axes and one of {sorted(map(str, modes))}, not {array.shape} {array.dtype}"
        )
    mode = modes[array.dtype]
    if isinstance(target, str | os.PathLike):
        with Path(target).open("wb") as stream:
            write_mrc(stream, array, voxel_size)
        return
    data = np.ascontiguousarray(array, np.dtype("<" + SAMPLE_TYPES[mode]))
    target.write(_header_block(data, mode, voxel_size))
    target.write(data.data)


def _header_block(data: NDArray[Any], mode: int, voxel_size: float) -> bytes:
    nz, ny, nx = data.shape
    with np.errstate(all="ignore"):
        low, high, mean, rms = (float(f(data)) for f in (np.min, np.max, _mean, _rms))
    block = bytearray(HEADER_BYTES)
    cell = (nx * voxel_size, ny * voxel_size, nz * voxel_size)
    struct.pack_into("<10i6f", block, 0, nx, ny, nz, mode, 0, 0, 0, nx, ny, nz, *cell, 90, 90, 90)
    struct.pack_into("<3i3f2i", block, 64, 1, 2, 3, low, high, mean, 1, 0)
    struct.pack_into("<i", block, 108, 20140)  # version of the format: 2014, revision 0
    struct.pack_into("<4s4sfi80s", block, 208, b"MAP ", b"\x44\x44\0\0", rms, 1, b"picker".ljust(80))
    return bytes(block)


def _mean(data: NDArray[Any]) -> float:
    return float(data.mean(dtype=np.float64))


def _rms(data: NDArray[Any]) -> float:
    return float(data.std(dtype=np.float64))


def _open_regular(path: str | os.PathLike[str], name: str) -> BinaryIO:
    try:
        descriptor = _descriptor(path)
    except (OSError, ValueError) as error:
        raise unreadable(name, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(12, name, "cannot be opened: not a regular file", "give the path of an MRC file")
    return open(descriptor, "rb", buffering=0)  # noqa: PTH123  closed by close()


def _descriptor(path: str | os.PathLike[str]) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO must not make us wait for its writer
    except BlockingIOError:  # a file server or another program has it on lease, and is asked for it now
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise
        return os.open(path, os.O_RDONLY)

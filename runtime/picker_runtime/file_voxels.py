"""The voxels of an open file: read as they are stored, in bounded windows by `pread`, never mapped."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picker_runtime.errors import InputError
from picker_runtime.geometry import Box, Triple

WINDOW_BYTES = 8 << 20
"""One `pread` asks for at most this much, or for one row."""

READ_SOON_BYTES = 1 << 30
"""At most this much is read before it is asked for."""

Identity = tuple[int, int, int, int]
"""Device, inode, size and time of change of a file."""


class FileVoxels:
    """A volume of an open file, z slowest, without gaps; whoever opened the file closes it.

    descriptor: of the open file. offset: byte of the first voxel. shape: zyx. dtype: with its byte order.
    name: of the file, for errors.
    """

    def __init__(self, descriptor: int, *, offset: int, shape: Triple, dtype: np.dtype[Any], name: str) -> None:
        self.descriptor = descriptor
        self.offset = offset
        self.shape = shape
        self.dtype = dtype
        self.name = name

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of voxels along x."""
        return self.shape[2] * self.dtype.itemsize

    @property
    def rows(self) -> int:
        """Rows of the volume; row `z * ny + y` is the one at z and y."""
        return self.shape[0] * self.shape[1]

    @property
    def identity(self) -> tuple[Identity, int, Triple, str]:
        """What two openings of the same unchanged volume, read in the same way, have in common."""
        return identity(os.fstat(self.descriptor)), self.offset, self.shape, self.dtype.str

    def read(self, box: Box) -> NDArray[np.float32]:
        """Return the voxels of a box inside the volume, `(D, H, W) float32`, zyx, non-finite ones included.

        Raises:
            ValueError: if the box leaves the volume.
            InputError: E12 if the disk fails, E13 if the file became shorter.
        """
        if box.intersection(Box.whole(self.shape)) != box:
            raise ValueError(f"box {box.start} to {box.stop} leaves the volume of shape {self.shape}")
        _, ny, nx = self.shape
        (z0, y0, x0), (z1, y1, x1) = box.start, box.stop
        values = np.empty(box.shape, np.float32)
        rows_at_once = max(1, min(y1 - y0, WINDOW_BYTES // self.row_bytes))
        buffer = np.empty((rows_at_once, nx), self.dtype)
        for z in range(z0, z1):
            for y in range(y0, y1, rows_at_once):
                rows = buffer[: min(rows_at_once, y1 - y)]
                self.fill(rows.reshape(-1).view(np.uint8), first_row=z * ny + y)
                values[z - z0, y - y0 : y - y0 + len(rows)] = rows[:, x0:x1]
        return values

    def fill(self, target: NDArray[np.uint8], *, first_row: int) -> None:
        """Fill all of `target`, `(n,) uint8`, with bytes as stored, from the first voxel of a row on.

        Raises:
            InputError: E12 if the disk fails, E13 if the file became shorter.
        """
        view, at = target.data, self.offset + first_row * self.row_bytes
        while view:
            try:
                count = os.preadv(self.descriptor, [view], at)
            except OSError as error:
                raise unreadable(self.name, error) from error
            if count == 0:
                raise changed(self.name)
            view, at = view[count:], at + count

    def read_soon(self) -> None:
        """Ask the operating system to read the volume, or as much as is sensible, into its cache meanwhile."""
        nbytes = min(self.rows * self.row_bytes, READ_SOON_BYTES)
        os.posix_fadvise(self.descriptor, self.offset, nbytes, os.POSIX_FADV_WILLNEED)

    def duplicate(self) -> "FileVoxels":
        """Return the same voxels with a descriptor of their own, to be closed with `close`."""
        own = os.dup(self.descriptor)
        return FileVoxels(own, offset=self.offset, shape=self.shape, dtype=self.dtype, name=self.name)

    def close(self) -> None:
        """Close the descriptor: for voxels made by `duplicate` only."""
        os.close(self.descriptor)


def identity(status: os.stat_result) -> Identity:
    """Return what tells a file from another one and from its own earlier content."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def unreadable(name: str, error: OSError | ValueError) -> InputError:
    """Return the error for a file that cannot be opened or read."""
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return InputError(12, name, f"cannot be opened: {reason}", "check its path, permissions and disk")


def changed(name: str) -> InputError:
    """Return the error for a file that is no longer what it was when it was opened."""
    return InputError(13, name, "changed while it was read", "run again when it is finished")

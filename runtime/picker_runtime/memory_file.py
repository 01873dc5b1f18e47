"""Arrays as files: a copy in memory that has a descriptor, for whoever reads volumes from files only."""

import os
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picker_runtime.file_voxels import FileVoxels, unreadable

KEPT_TYPES = ("i1", "u1", "i2", "u2", "f2", "f4")
"""Types that MRC files hold; all others become float32, as reading them makes them."""


class MemoryFile:
    """A volume `(z, y, x)` of real numbers, copied to an anonymous file without a name in any folder.

    voxels: those of the file, until it is closed.

    Raises:
        InputError: E12 if there is no memory for the copy.
    """

    def __init__(self, array: NDArray[Any], *, name: str) -> None:
        kept = array.dtype.str[1:] in KEPT_TYPES
        dtype = array.dtype if kept else np.dtype("f4")
        self._descriptor = os.memfd_create("picker")
        self._free = weakref.finalize(self, os.close, self._descriptor)
        nz, ny, nx = array.shape
        self.voxels = FileVoxels(self._descriptor, offset=0, shape=(nz, ny, nx), dtype=dtype, name=name)
        try:
            self._write(array)
        except OSError as error:
            self.close()
            raise unreadable(name, error) from error

    def close(self) -> None:
        """Free the copy, now and not when nobody needs it any more."""
        self._free()

    def _write(self, array: NDArray[Any]) -> None:
        for plane in array:
            with np.errstate(over="ignore", invalid="ignore"):
                left = np.ascontiguousarray(plane, self.voxels.dtype).view(np.uint8).reshape(-1).data
            while left:
                left = left[os.write(self._descriptor, left) :]

"""Masks: the part of a tomogram in which to pick, a volume of the same shape that is not zero there."""

import os
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from picker_runtime.errors import InputError
from picker_runtime.geometry import Box
from picker_runtime.tiling import Tile
from picker_runtime.tomogram import Tomogram


class Mask:
    """A mask from an MRC file or an array, read tile by tile; a context manager.

    Raises:
        InputError: E45 if its shape is not the tomogram's; what `Tomogram` raises if it cannot be read.
    """

    def __init__(self, source: str | os.PathLike[str] | NDArray[Any], *, like: Tomogram) -> None:
        if isinstance(source, np.ndarray):
            volume = source.astype(np.uint8) if source.dtype == np.bool_ else source
            self._volume = Tomogram.from_array(volume, like.voxel_size, "mask")
        else:
            self._volume = Tomogram.open(source, voxel_size=like.voxel_size)
        if self._volume.shape != like.shape:
            self._volume.close()
            problem = f"{self._volume.shape} voxels (z, y, x), the tomogram has {like.shape}"
            raise InputError(45, self._volume.name, problem, "make a mask of the tomogram's shape")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._volume.close()

    def touches(self, tile: Tile) -> bool:
        """Tell whether any voxel that a tile owns is in the mask."""
        return bool(self._read(tile.owned).any())

    def holds(self, tile: Tile, positions: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which positions `(n, 3) zyx, voxels` of those a tile owns lie in a voxel of the mask."""
        z, y, x = (np.floor(positions + 0.5).astype(np.intp) - np.asarray(tile.owned.start)).T
        inside: NDArray[np.bool_] = self._read(tile.owned)[z, y, x]
        return inside

    def _read(self, box: Box) -> NDArray[np.bool_]:
        inside: NDArray[np.bool_] = np.nan_to_num(self._volume.read(box)) != 0
        return inside

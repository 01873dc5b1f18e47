"""Cutting: the orders by which a device cuts cubes out of the volume that lies on it."""

import sys
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from picker_runtime.engines.device import Device, DeviceBuffer
from picker_runtime.file_voxels import FileVoxels
from picker_runtime.geometry import Triple

ORDER = np.dtype(
    [
        ("volume", "u8"),
        ("ring", "i4"),
        ("shape", "i4", 3),
        ("start", "i4", 3),
        ("kind", "i4"),
        ("swapped", "i4"),
        ("filler", "f4"),
        ("used", "i4"),
        ("finite", "i4"),
    ]
)
"""One cube to cut, as `Order` in `cut.cu` lays it out; an order of zeros fills its cube with zeros."""

KINDS = ("i1", "u1", "i2", "u2", "f2", "f4")
"""Types of stored voxels, by their numbers in `cut.cu`."""


class CuttingDevice(Device, Protocol):
    """A device that cuts cubes out of a volume in its memory."""

    def cut_async(self, orders: DeviceBuffer, cubes: DeviceBuffer, *, count: int, shape: Triple, stream: int) -> None:
        """Enqueue that `count` orders (`ORDER`) are carried out.

        cubes: gets `(count, *shape) float32`. Each order's `finite` becomes 1 if a voxel of its cube's part inside the
        volume is finite.
        """
        ...


def order(voxels: FileVoxels, *, volume: DeviceBuffer, ring: int, start: Triple, filler: float) -> NDArray[np.void]:
    """Return the order `() ORDER` for the cube that starts at a voxel (zyx) of a volume.

    ring: planes that the buffer holds; plane z lies at `z % ring`. filler: stands in for what is not finite.
    """
    one = np.zeros((), ORDER)
    one["volume"], one["ring"], one["shape"], one["start"] = volume.address, ring, voxels.shape, start
    one["kind"] = KINDS.index(voxels.dtype.str[1:])
    one["swapped"] = voxels.dtype.byteorder == (">" if sys.byteorder == "little" else "<")
    one["filler"], one["used"] = filler, 1
    return one


def planes_read(start: int, edge: int, length: int) -> tuple[int, int]:
    """Return the first plane and the one after the last that a cube from `start` on reads, reflections included."""
    period = 2 * (length - 1)
    if edge >= period:
        return 0, length
    index = np.arange(start, start + edge) % period
    planes = np.minimum(index, period - index)
    return int(planes.min()), int(planes.max()) + 1

"""Sizing: how many cubes at a time and how many planes of a volume, from much to little memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from picker_runtime.engines.cutting import planes_read
from picker_runtime.engines.rigs import SLOTS
from picker_runtime.tiling import Tile

BUSY_VOXELS = 12_000_000
"""So many at a time keep any GPU busy; it is also what the tiles of the bundled model hold."""

BYTES_A_VOXEL = 128
"""Of a slot, guessed: cube, activations and the library's scratch memory. Too few, and batches are halved when used."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Cubes in a batch, and planes of the volume that lie on the device at a time, `whole` if all."""

    batch: int
    planes: int
    whole: bool

    def __str__(self) -> str:
        if self.whole:
            return f"{self.batch} cubes at a time"
        return f"one cube at a time and the tomogram in slabs of {self.planes} planes"


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Tiles whose cubes have one shape, and the planes low..high-1 of the volume that they read."""

    tiles: tuple[Tile, ...]
    low: int
    high: int


def good_batch(tiles: int, cube_voxels: int, *, free: int) -> int:
    """Return how many of so many tiles to take at a time: enough to keep a GPU busy, no more than `free` bytes hold."""
    busy = -(-BUSY_VOXELS // cube_voxels)
    fitting = free // (SLOTS * BYTES_A_VOXEL * cube_voxels)
    return max(1, min(busy, fitting, tiles))


def sizes(*, batch: int, depth: int, least_planes: int) -> list[Size]:
    """Return the sizes to try in turn: smaller batches first, then thinner slabs of a volume of `depth` planes.

    least_planes: of the tile that reads the most.
    """
    found = []
    while batch > 1:
        found.append(Size(batch=batch, planes=depth, whole=True))
        batch //= 2
    found.append(Size(batch=1, planes=depth, whole=True))
    planes = depth
    while planes > least_planes:
        planes = max(least_planes, planes // 2)
        found.append(Size(batch=1, planes=planes, whole=False))
    return found


def batches(tiles: Sequence[Tile], size: Size, *, depth: int) -> Iterator[Batch]:
    """Yield runs of at most `size.batch` tiles that together read at most `size.planes` planes."""
    group: list[Tile] = []
    low, high = depth, 0
    for tile in tiles:
        first, stop = tile_planes(tile, depth)
        if group and (len(group) == size.batch or max(high, stop) - min(low, first) > size.planes):
            yield Batch(tiles=tuple(group), low=low, high=high)
            group, low, high = [], depth, 0
        group.append(tile)
        low, high = min(low, first), max(high, stop)
    if group:
        yield Batch(tiles=tuple(group), low=low, high=high)


def least_planes(tiles: Iterable[Tile], depth: int) -> int:
    """Return how many planes the tile reads that reads the most."""
    return max(stop - first for first, stop in (tile_planes(tile, depth) for tile in tiles))


def tile_planes(tile: Tile, depth: int) -> tuple[int, int]:
    """Return the first plane and the one after the last that a tile's cube reads."""
    return planes_read(tile.cube.start[0], tile.cube.shape[0], depth)

"""Tiling: cores that partition a tomogram, cubes that surround them, and who owns a candidate."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from picker_runtime.errors import UsageError
from picker_runtime.geometry import Box, Triple


@dataclass(frozen=True)
class Tile:
    """One cube to run the graph on.

    core: the part of the tomogram it answers for; the cores of a plan partition the tomogram.
    cube: what is read: the core and its halo, its edges multiples of the model's alignment; it may reach outside.
    owned: the core grown by one output cell; candidates outside it are dropped, doubles inside go in the global NMS.
    """

    core: Box
    cube: Box
    owned: Box


def plan(
    shape: Triple,
    *,
    tile: Triple,
    halo: int,
    alignment: int,
    output_stride: int,
    min_cells: int,
    shift: Triple = (0, 0, 0),
) -> list[Tile]:
    """Return the tiles of a tomogram, z slowest; all their cubes have one shape and start at multiples of `alignment`.

    shape: the tomogram, zyx voxels.
    tile: upper bounds of the cube's edges, zyx voxels, halo included; the cores are balanced below them.
    halo: least number of voxels between a core and the faces of its cube.
    min_cells: least number of output cells of a cube: the number of candidates its graph returns.
    shift: moves the grid by so many voxels, multiples of `alignment`.

    Raises:
        UsageError: E80, if the bounds leave no room for a core or for `min_cells`.
    """
    reach = _round_up(halo, alignment)
    bounds = [edge // alignment * alignment for edge in tile]
    if min(bounds) < 2 * reach + alignment:
        problem = f"an edge of {min(tile)} voxels has no room for a core inside a halo of {halo}"
        raise UsageError(80, "--tile", problem, f"use edges of at least {2 * reach + alignment} voxels")
    cores = [_core_edge(n, bound - 2 * reach, alignment) for n, bound in zip(shape, bounds, strict=True)]
    edges = _with_cells([core + 2 * reach for core in cores], bounds, alignment, output_stride, min_cells)
    volume = Box.whole(shape)
    tiles = []
    for corner in product(*map(_starts, shape, cores, shift)):
        core = _box(corner, cores).intersection(volume)
        cube = _box([start - reach for start in corner], edges)
        tiles.append(Tile(core=core, cube=cube, owned=core.grown(output_stride).intersection(volume)))
    return tiles


def split(tile: Tile, *, halo: int, alignment: int, output_stride: int, min_cells: int) -> list[Tile]:
    """Return two tiles with smaller cubes in place of one, halved across its core's longest axis; none if too small."""
    axis = max(range(3), key=lambda i: tile.core.shape[i])
    reach = _round_up(halo, alignment)
    half = _round_up(math.ceil(tile.core.shape[axis] / 2), alignment)
    edges = list(tile.cube.shape)
    edges[axis] = half + 2 * reach
    if edges[axis] >= tile.cube.shape[axis] or _cells(edges, output_stride) < min_cells:
        return []
    halves = []
    start = tile.core.start[axis]
    for low, high in ((start, start + half), (start + half, tile.core.stop[axis])):
        core = Box(_replaced(tile.core.start, axis, low), _replaced(tile.core.stop, axis, high))
        cube = _box(_replaced(tile.cube.start, axis, low - reach), edges)
        halves.append(Tile(core=core, cube=cube, owned=core.grown(output_stride).intersection(tile.owned)))
    return halves


def _core_edge(length: int, limit: int, alignment: int) -> int:
    """Return the edge of the fewest equal cores, at most `limit` long, that cover an axis."""
    count = math.ceil(length / limit)
    return _round_up(math.ceil(length / count), alignment)


def _starts(length: int, core: int, shift: int) -> Iterator[int]:
    """Yield the starts of an axis' cores; the first one may lie before voxel 0."""
    first = shift % core
    yield from range(first - core if first else 0, length, core)


def _with_cells(edges: list[int], bounds: list[int], alignment: int, stride: int, min_cells: int) -> list[int]:
    """Return cube edges grown, the shortest first and none beyond its bound, until the cube has `min_cells` cells."""
    edges = list(edges)
    while _cells(edges, stride) < min_cells:
        growing = [i for i in range(3) if edges[i] < bounds[i]]
        if not growing:
            problem = f"a cube of {tuple(bounds)} voxels has fewer output cells than the model's {min_cells} candidates"
            raise UsageError(80, "--tile", problem, "use longer edges")
        edges[min(growing, key=lambda i: edges[i])] += alignment
    return edges


def _cells(edges: Sequence[int], stride: int) -> int:
    return math.prod(edge // stride for edge in edges)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _box(start: Sequence[int], edges: Sequence[int]) -> Box:
    z, y, x = start
    depth, height, width = edges
    return Box((z, y, x), (z + depth, y + height, x + width))


def _replaced(values: Triple, axis: int, value: int) -> Triple:
    z, y, x = (value if i == axis else v for i, v in enumerate(values))
    return z, y, x

"""Tiling: cores that partition a tomogram, cubes that surround them, and who owns a candidate."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from picker_runtime.errors import UsageError
from picker_runtime.geometry import Box, Triple


@dataclass(frozen=True)
class Tile:
    """One cube to run the graph on.

    core: the part of the tomogram it answers for; the cores of a plan partition the tomogram.
    cube: what is read: the core and its halo, its edges multiples of the model's alignment; it reaches outside the
    tomogram by a little only.
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
    margin: int,
    alignment: int,
    output_stride: int,
    min_cells: int,
    shift: Triple = (0, 0, 0),
) -> list[Tile]:
    """Return the tiles of a tomogram, z slowest; all their cubes have one shape and start at multiples of `alignment`.

    shape: the tomogram, zyx voxels.
    tile: upper bounds of the cube's edges, zyx voxels, halo included; the cubes are balanced below them.
    halo: least number of voxels between a core and the faces of its cube inside the tomogram.
    margin: least number of them at the tomogram's own faces, no more than the halo: there is nothing to see beyond them
    but reflections.
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
    outside = _outside(margin, reach, alignment)
    fitted = [_edge(n, bound, reach, outside, alignment) for n, bound in zip(shape, bounds, strict=True)]
    edges = _with_cells(fitted, bounds, alignment, output_stride, min_cells)
    volume = Box.whole(shape)
    tiles = []
    for spans in product(*(_spans(n, e, reach, outside, s) for n, e, s in zip(shape, fitted, shift, strict=True))):
        core = _box([span.core for span in spans], [span.stop - span.core for span in spans])
        cube = _box([span.cube for span in spans], edges)
        tiles.append(Tile(core=core, cube=cube, owned=core.grown(output_stride).intersection(volume)))
    return tiles


def suited(shape: Triple, *, voxels: int, halo: int, margin: int, alignment: int) -> Triple:
    """Return the bounds `tile` of the plan with the fewest voxels in all whose cubes have at most so many each.

    What is cut into few pieces along an axis has few seams there, so that the best edges depend on the tomogram. Along
    an axis that is not cut the bound is wide. Where no cubes are small enough, the smallest sensible ones are taken.
    """
    reach = _round_up(halo, alignment)
    axes = [list(_pieces(n, reach, _outside(margin, reach, alignment), alignment)) for n in shape]
    fitting = [pieces for pieces in product(*axes) if math.prod(piece.edge for piece in pieces) <= voxels]
    cheapest = min(
        fitting or [tuple(axis[-1] for axis in axes)],
        key=lambda pieces: (
            math.prod(piece.edge * piece.number for piece in pieces),
            math.prod(piece.number for piece in pieces),
            -pieces[2].edge,  # rows are read whole
        ),
    )
    least = 2 * reach + alignment  # shorter ones have no core
    cubic = round(math.cbrt(voxels)) // alignment * alignment  # room to grow, for graphs that return many candidates
    z, y, x = (max(piece.edge, least, cubic if piece.number == 1 else 0) for piece in cheapest)
    return z, y, x


def split(tile: Tile, *, halo: int, alignment: int, output_stride: int, min_cells: int) -> list[Tile]:
    """Return two tiles with smaller cubes in place of one, halved across its core's longest axis; none if too small."""
    axis = max(range(3), key=lambda i: tile.core.shape[i])
    reach = _round_up(halo, alignment)
    half = _round_up(math.ceil(tile.core.shape[axis] / 2), alignment)
    edges = list(tile.cube.shape)
    around = max(tile.core.start[axis] - tile.cube.start[axis], tile.cube.stop[axis] - tile.core.stop[axis])
    edges[axis] = half + reach + min(_round_up(around, alignment), reach)
    too_small = half >= tile.core.shape[axis] or edges[axis] >= tile.cube.shape[axis]
    if too_small or _cells(edges, output_stride) < min_cells:
        return []
    halves = []
    start = tile.core.start[axis]
    first_cube = max(tile.cube.start[axis], start - reach)
    for low, high, cube_start in (
        (start, start + half, first_cube),
        (start + half, tile.core.stop[axis], start + half - reach),
    ):
        core = Box(_replaced(tile.core.start, axis, low), _replaced(tile.core.stop, axis, high))
        cube = _box(_replaced(tile.cube.start, axis, cube_start), edges)
        halves.append(Tile(core=core, cube=cube, owned=core.grown(output_stride).intersection(tile.owned)))
    return halves


class _Span(NamedTuple):
    """A tile along one axis: where its core starts and stops and where its cube starts."""

    core: int
    stop: int
    cube: int


class _Pieces(NamedTuple):
    """An axis cut into so many cubes of this edge."""

    edge: int
    number: int


def _pieces(length: int, reach: int, outside: int, alignment: int) -> Iterator[_Pieces]:
    """Yield the ways to cut an axis, the longest edge first, down to cubes that are mostly halo."""
    edge = _edge(length, length + 2 * (reach + alignment), reach, outside, alignment)
    least = max(3 * reach, alignment)
    while True:
        yield _Pieces(edge, len(list(_spans(length, edge, reach, outside, 0))))
        shorter = _edge(length, edge - alignment, reach, outside, alignment) if edge - alignment >= least else edge
        if shorter >= edge:
            return
        edge = shorter


def _outside(margin: int, reach: int, alignment: int) -> int:
    """Return how far cubes reach beyond the faces that they start at."""
    return min(_round_up(margin, alignment), reach)


def _edge(length: int, bound: int, reach: int, outside: int, alignment: int) -> int:
    """Return the cube's edge along an axis: the fewest cubes below the bound that cover it, all alike."""
    if _round_up(length, alignment) + 2 * outside <= bound:
        return _round_up(length, alignment) + 2 * outside
    inner = 2 * (reach - outside)  # what the cores of all cubes lose to seams, less that of one
    count = math.ceil((length - inner) / (bound - 2 * reach))
    return _round_up(math.ceil((length - inner) / count), alignment) + 2 * reach


def _spans(length: int, edge: int, reach: int, outside: int, shift: int) -> Iterator[_Span]:
    """Yield an axis' tiles; the first and the last core may be longer than the others: they have one seam only."""
    first, step = edge - reach - outside, edge - 2 * reach
    if edge - 2 * outside >= length and (step <= 0 or not shift % step):
        yield _Span(0, length, -outside)  # one core: neither end has a seam
        return
    core, stop = 0, shift % step or first
    while stop < length and (core == 0 or length - core > first):
        yield _Span(core, stop, core - reach if core else -outside)
        core, stop = stop, stop + step
    yield _Span(core, length, core - reach if core else -outside)


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

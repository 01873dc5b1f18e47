import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picker_runtime.errors import UsageError
from picker_runtime.geometry import Box, Triple
from picker_runtime.tiling import Tile, plan, split, suited

EDGE = st.integers(16, 80)
SHAPE = st.tuples(EDGE, EDGE, EDGE)


@st.composite
def grids(draw: st.DrawFn) -> dict:
    stride = draw(st.sampled_from([1, 2]))
    alignment = stride * draw(st.sampled_from([1, 4, 8]))
    halo = draw(st.integers(0, 20))
    reach = -(-halo // alignment) * alignment
    edges = st.integers(2 * reach + 24, 2 * reach + 96)
    return {
        "tile": draw(st.tuples(edges, edges, edges)),
        "halo": halo,
        "margin": draw(st.integers(0, 20)),
        "alignment": alignment,
        "output_stride": stride,
        "shift": tuple(alignment * n for n in draw(st.tuples(*[st.integers(-3, 12)] * 3))),
    }


@given(
    st.tuples(*[st.integers(-20, 20)] * 3), st.tuples(*[st.integers(1, 60)] * 3), st.tuples(*[st.integers(1, 40)] * 3)
)
def test_parts_of_a_box_are_a_partition_of_nearly_equal_boxes(start: Triple, shape: Triple, longest: Triple) -> None:
    box = Box(start, tuple(a + n for a, n in zip(start, shape, strict=True)))
    parts = box.parts(longest)
    seen = np.zeros(shape, int)
    for part in parts:
        seen[part.slices_in(box)] += 1
    assert (seen == 1).all()
    for axis, (size, most) in enumerate(zip(shape, longest, strict=True)):
        edges = {part.shape[axis] for part in parts}
        assert max(edges) <= most
        assert max(edges) - min(edges) <= 1
        assert len({part.start[axis] for part in parts}) == -(-size // most)


@given(
    st.tuples(*[st.integers(16, 300)] * 3), st.sampled_from([0, 8, 16]), st.integers(0, 8), st.integers(40_000, 400_000)
)
def test_suited_cubes_are_small_enough_and_no_cubic_ones_cost_less(
    shape: Triple, halo: int, margin: int, voxels: int
) -> None:
    rules = {"halo": halo, "margin": margin, "alignment": 8}

    def cost(tile: Triple) -> tuple[int, int]:
        tiles = plan(shape, tile=tile, **rules, output_stride=2, min_cells=1)
        return len(tiles) * tiles[0].cube.voxels, tiles[0].cube.voxels

    whole, one = cost(suited(shape, voxels=voxels, **rules))
    smallest = 3 * max(halo, 8) + 8
    assert one <= max(voxels, smallest**3)
    edge = int(voxels ** (1 / 3)) // 8 * 8
    if edge >= smallest:
        assert whole <= cost((edge, edge, edge))[0]


@pytest.mark.parametrize(
    ("shape", "margin", "tile"),
    [
        ((200, 512, 512), 8, (240, 200, 280)),  # the depth whole, six in all
        ((64, 512, 512), 8, (240, 280, 528)),  # depth and rows whole
        ((776, 1024, 1024), 8, (184, 200, 368)),
        ((16, 16, 16), 8, (240, 240, 240)),
        ((200, 512, 512), 0, (240, 192, 272)),  # a tenth fewer voxels where cubes may end at faces
    ],
)
def test_suited_edges_follow_the_tomogram_and_the_margin(shape: Triple, margin: int, tile: Triple) -> None:
    assert suited(shape, voxels=240**3, halo=16, margin=margin, alignment=8) == tile


def test_a_small_tomogram_has_cubes_that_can_grow_to_as_many_cells_as_candidates() -> None:
    tile = suited((16, 16, 16), voxels=240**3, halo=16, margin=8, alignment=16)
    [one] = plan((16, 16, 16), tile=tile, halo=16, margin=8, alignment=16, output_stride=4, min_cells=2048)
    assert one.cube.shape == (64, 48, 48)


def test_where_no_cubes_are_small_enough_the_smallest_are_taken() -> None:
    assert suited((300, 300, 300), voxels=1000, halo=16, margin=8, alignment=8) == (48, 48, 48)


def covered(shape: Triple, boxes: list[Box]) -> np.ndarray:
    counts = np.zeros(shape, np.uint8)
    for box in boxes:
        counts[box.slices] += 1
    return counts


def reads_enough(core: Box, cube: Box, shape: Triple, grid: dict) -> bool:
    """Tell whether a cube holds its core's halo inside the tomogram, and the margin outside it."""
    volume = Box.whole(shape)
    around = core.grown(grid["halo"]).intersection(volume)
    outside = core.grown(min(grid["halo"], grid["margin"]))
    return around.intersection(cube) == around and outside.intersection(cube) == outside


@settings(max_examples=40)
@given(SHAPE, grids())
def test_cores_partition_the_tomogram(shape: Triple, grid: dict) -> None:
    assert np.all(covered(shape, [tile.core for tile in plan(shape, **grid, min_cells=1)]) == 1)


@settings(max_examples=40)
@given(SHAPE, grids(), st.integers(1, 40_000))
def test_cubes_are_alike_aligned_bounded_and_hold_their_core_and_halo(shape: Triple, grid: dict, cells: int) -> None:
    bound = math.prod(e // grid["alignment"] * grid["alignment"] // grid["output_stride"] for e in grid["tile"])
    tiles = plan(shape, **grid, min_cells=min(cells, bound))
    assert len({tile.cube.shape for tile in tiles}) == 1
    edges = tiles[0].cube.shape
    assert all(edge <= bound for edge, bound in zip(edges, grid["tile"], strict=True))
    assert math.prod(edge // grid["output_stride"] for edge in edges) >= min(cells, bound)
    for tile in tiles:
        assert all(n % grid["alignment"] == 0 for n in (*tile.cube.start, *edges))
        assert reads_enough(tile.core, tile.cube, shape, grid)


@settings(max_examples=40)
@given(SHAPE, grids())
def test_a_tile_owns_its_core_and_one_output_cell_around_it_inside_the_tomogram(shape: Triple, grid: dict) -> None:
    for tile in plan(shape, **grid, min_cells=1):
        assert tile.owned == tile.core.grown(grid["output_stride"]).intersection(Box.whole(shape))


def test_cores_are_balanced_below_the_bound() -> None:
    tiles = plan((512, 512, 512), tile=(160, 160, 160), halo=16, margin=16, alignment=16, output_stride=2, min_cells=1)
    assert {tile.core.shape for tile in tiles} == {(128, 128, 128)}
    tiles = plan((100, 100, 130), tile=(160, 160, 160), halo=16, margin=8, alignment=8, output_stride=2, min_cells=1)
    assert {tile.cube.shape for tile in tiles} == {(120, 120, 152)}  # whole on every axis: no seams, little outside
    tiles = plan((16, 16, 210), tile=(160, 160, 160), halo=16, margin=8, alignment=8, output_stride=2, min_cells=1)
    assert [tile.core.shape[2] for tile in tiles] == [112, 98]  # two like cubes of 136, not 160 and what is left
    assert {tile.cube.shape[2] for tile in tiles} == {136}


def test_the_cubes_at_the_faces_see_little_outside() -> None:
    tiles = plan((200, 512, 512), tile=(216, 224, 224), halo=32, margin=5, alignment=8, output_stride=2, min_cells=1)
    assert len(tiles) == 9
    assert {tile.cube.shape for tile in tiles} == {(216, 224, 224)}
    assert {tile.core.shape[1] for tile in tiles} == {184, 160, 168}
    assert min(tile.cube.start[0] for tile in tiles) == min(tile.cube.start[1] for tile in tiles) == -8


def test_cubes_end_at_the_faces_where_the_model_has_no_margin() -> None:
    def ends(shape: Triple) -> tuple[set[int], set[int]]:
        tiles = plan(shape, tile=(240, 240, 240), halo=16, margin=0, alignment=8, output_stride=2, min_cells=1)
        return {tile.cube.start[2] for tile in tiles}, {tile.cube.stop[2] for tile in tiles}

    assert ends((64, 64, 200)) == ({0}, {200})
    assert ends((64, 64, 203)) == ({0}, {208})  # edges are multiples of the alignment
    assert ends((64, 64, 448)) == ({0, 208}, {240, 448})  # two cores of 224 with 16 more where they meet


def test_z_is_whole_when_it_fits_and_cut_when_it_is_one_voxel_more() -> None:
    def depths(nz: int) -> set[int]:
        tiles = plan((nz, 300, 300), tile=(96, 96, 96), halo=16, margin=8, alignment=8, output_stride=2, min_cells=1)
        return {tile.core.shape[0] for tile in tiles}

    assert depths(80) == {80}
    assert depths(81) == {48, 33}


def test_a_small_volume_gets_cubes_with_enough_cells_for_the_candidates() -> None:
    [tile] = plan((16, 16, 16), tile=(64, 64, 64), halo=0, margin=8, alignment=8, output_stride=2, min_cells=1024)
    assert sorted(tile.cube.shape) == [16, 24, 24]  # 8 * 12 * 12 = 1152 cells; with one axis less, 768


@pytest.mark.parametrize(("tile", "cells"), [((64, 47, 64), 1), ((64, 64, 64), 40000)])
def test_bounds_without_room_are_refused(tile: Triple, cells: int) -> None:
    with pytest.raises(UsageError, match="E80"):
        plan((64, 64, 64), tile=tile, halo=17, margin=8, alignment=8, output_stride=2, min_cells=cells)


@settings(max_examples=40)
@given(SHAPE, grids())
def test_halves_stand_in_for_their_tile_with_smaller_cubes(shape: Triple, grid: dict) -> None:
    rules = {name: grid[name] for name in ("halo", "alignment", "output_stride")}
    for tile in plan(shape, **grid, min_cells=1):
        halves = split(tile, **rules, min_cells=1)
        long = max(tile.core.shape) > 2 * (grid["halo"] + 2 * grid["alignment"])
        assert len(halves) == (2 if long else len(halves))
        if not halves:
            continue
        assert np.all(covered(shape, [half.core for half in halves]) == covered(shape, [tile.core]))
        for half in halves:
            assert half.cube.voxels < tile.cube.voxels
            assert half.cube.shape == halves[0].cube.shape
            assert all(n % grid["alignment"] == 0 for n in (*half.cube.start, *half.cube.shape))
            assert reads_enough(half.core, half.cube, shape, grid)
            assert half.owned == half.core.grown(grid["output_stride"]).intersection(Box.whole(shape))


def test_a_core_of_less_than_one_step_of_the_alignment_is_not_split() -> None:
    rules = {"halo": 1, "alignment": 16, "output_stride": 2}
    last = plan((17, 34, 17), tile=(56, 64, 56), margin=1, **rules, min_cells=1)[-1]
    assert (last.core.start[1], last.core.stop[1]) == (32, 34)
    assert split(last, **rules, min_cells=1) == []


def test_a_tile_is_not_split_below_the_cells_its_candidates_need() -> None:
    box = Box((0, 0, 0), (32, 32, 32))
    tile = Tile(core=box, cube=box, owned=box)
    assert len(split(tile, halo=0, alignment=8, output_stride=2, min_cells=2048)) == 2
    assert split(tile, halo=0, alignment=8, output_stride=2, min_cells=2049) == []

import numpy as np
import pytest

from picker_runtime.geometry import Box
from picker_runtime.polarity import inverted_fits_better, sample_tiles


@pytest.mark.parametrize(
    ("as_is", "inverted", "expected"),
    [
        ([], [0.9] * 10, True),
        ([0.9] * 10, [], False),
        ([], [], False),
        ([], [0.9], False),
        ([0.9] * 10, [0.9] * 15, False),
        ([0.9] * 10, [0.9] * 25, True),
        ([0.9] * 10, [0.1] * 200, False),
        ([0.05] * 200, [0.9] * 10, True),
    ],
)
def test_only_a_clear_difference_counts(as_is: list[float], inverted: list[float], expected: bool) -> None:
    assert inverted_fits_better(np.array(as_is, np.float32), np.array(inverted, np.float32)) is expected


@pytest.mark.parametrize("shape", [(200, 512, 512), (27, 32, 22), (16, 4096, 100), (512, 97, 512), (192, 96, 96)])
@pytest.mark.parametrize("alignment", [8, 10])
def test_cubes_are_central_aligned_and_apart(shape: tuple[int, int, int], alignment: int) -> None:
    tiles = sample_tiles(shape, alignment=alignment)
    assert 1 <= len(tiles) <= 2
    for tile in tiles:
        assert len(set(tile.cube.shape)) == 1 and tile.cube.shape[0] <= 96
        assert all(n % alignment == 0 for n in (*tile.cube.start, *tile.cube.shape))
        assert tile.core == tile.owned == tile.cube.intersection(Box.whole(shape)) and tile.core.voxels
        for n, a, b in zip(shape, tile.core.start, tile.core.stop, strict=True):
            assert b - a == min(n - a, tile.cube.shape[0])
    joint = [min(t.core.start[i] for t in tiles) + max(t.core.stop[i] for t in tiles) for i in range(3)]
    assert all(abs(middle - n) <= 2 * alignment for middle, n in zip(joint, shape, strict=True))
    if len(tiles) == 2:
        assert not tiles[0].cube.intersection(tiles[1].cube).voxels


def test_two_cubes_where_there_is_room() -> None:
    assert len(sample_tiles((200, 512, 512), alignment=8)) == 2
    assert len(sample_tiles((100, 190, 190), alignment=8)) == 1

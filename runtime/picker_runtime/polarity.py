"""Polarity: whether particles look dark or bright, judged by which way the model finds more of them."""

import numpy as np
from numpy.typing import NDArray

from picker_runtime.geometry import Box, Triple
from picker_runtime.tiling import Tile

SAMPLE_EDGE = 96
MARGIN = 2.0
MIN_EVIDENCE = 2.0
"""In squared scores: two certain particles."""


def inverted_fits_better(as_is: NDArray[np.floating], inverted: NDArray[np.floating]) -> bool:
    """Tell whether the inverted sample clearly holds more particles than the sample as it is.

    Both are the scores `(n,)` of all candidates of the same tiles, read both ways. The evidence is the sum of their
    squares, which many weak candidates raise little; twice as much of it is asked for, and two particles' worth.
    """
    evidence, inverted_evidence = (float(np.sum(np.square(scores, dtype=np.float64))) for scores in (as_is, inverted))
    return inverted_evidence > max(MARGIN * evidence, MIN_EVIDENCE)


def sample_tiles(shape: Triple, *, alignment: int, edge: int = SAMPLE_EDGE) -> list[Tile]:
    """Return one or two cubes of `edge` voxels around the middle of a tomogram, side by side along its longest axis.

    Edges and starts are multiples of `alignment`; a cube reaches outside an axis that is shorter than it.
    """
    edge -= edge % alignment
    longest = shape.index(max(shape))
    count = 2 if shape[longest] >= 2 * edge else 1
    start = [max(0, (n - edge) // 2) for n in shape]
    start[longest] = max(0, (shape[longest] - count * edge) // 2)
    z, y, x = (n - n % alignment for n in start)
    tiles = []
    for i in range(count):
        offset = [i * edge * (axis == longest) for axis in range(3)]
        cube = Box(
            (z + offset[0], y + offset[1], x + offset[2]),
            (z + offset[0] + edge, y + offset[1] + edge, x + offset[2] + edge),
        )
        core = cube.intersection(Box.whole(shape))
        tiles.append(Tile(core, cube, core))
    return tiles

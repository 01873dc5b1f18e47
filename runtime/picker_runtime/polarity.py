"""Polarity: whether particles look dark or bright, judged by which side the averages of small blocks stray to.

Averaging 4x4x4 voxels takes the noise away and leaves what is as large as a particle. In simulated tomograms with
dark particles (SNR 0.03 to 0.3, the optics that training draws) the skewness of the averages was between -11 and -1.5;
in two real ones of bright microtubules it was 3.4 and 4.2.
"""

import numpy as np
from numpy.typing import NDArray

from picker_runtime.engines.base import Source
from picker_runtime.geometry import Box, Triple

BLOCK = 4
CUBE = 48
CUBES_AN_AXIS = 4
MIN_BLOCKS = 512
"""Fewer averages say nothing: their skewness strays by sqrt(6 / n) from chance alone."""

CLIP = 8.0
"""Standard deviations beyond which an average counts as this many: gold must not outweigh everything."""

CLEAR = 1.0
"""Skewness from which on the matter is clear."""


def seen_polarity(source: Source, shape: Triple) -> str | None:
    """Return "dark" or "bright", as particles look after normalisation; None where it is not clear."""
    averages = [_block_averages(cube) for box in sample_boxes(shape) if (cube := source.read(box)) is not None]
    if not averages:
        return None
    skewness = robust_skewness((np.concatenate(averages) - source.mean) * source.inverse_std)
    if abs(skewness) < CLEAR:
        return None
    return "dark" if skewness < 0 else "bright"


def sample_boxes(shape: Triple) -> list[Box]:
    """Return at most 64 boxes of at most 48 voxels an edge, spread evenly over a volume and inside it."""
    starts, edges = [], []
    for n in shape:
        edge = min(n, CUBE) // BLOCK * BLOCK
        count = max(1, min(CUBES_AN_AXIS, n // CUBE))
        edges.append(edge)
        starts.append(np.linspace(0, n - edge, count).astype(int).tolist() if count > 1 else [(n - edge) // 2])
    depth, height, width = edges
    return [Box((z, y, x), (z + depth, y + height, x + width)) for z in starts[0] for y in starts[1] for x in starts[2]]


def robust_skewness(values: NDArray[np.floating]) -> float:
    """Return the mean cube of values `(n,)` in robust standard deviations from their median, clipped; 0 for too few."""
    distance = values - np.median(values)
    scale = 1.4826 * float(np.median(np.abs(distance)))
    if len(values) < MIN_BLOCKS or scale == 0.0:
        return 0.0
    return float(np.mean(np.clip(distance / scale, -CLIP, CLIP) ** 3))


def _block_averages(cube: NDArray[np.float32]) -> NDArray[np.float64]:
    d, h, w = (n // BLOCK for n in cube.shape)
    blocks = cube.reshape(d, BLOCK, h, BLOCK, w, BLOCK)
    averages: NDArray[np.float64] = blocks.mean(axis=(1, 3, 5), dtype=np.float64).ravel()
    return averages

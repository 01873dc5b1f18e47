import numpy as np
import pytest

from picker_runtime.geometry import Box, Triple
from picker_runtime.intensity import NormalisedSource, measure
from picker_runtime.polarity import MIN_BLOCKS, robust_skewness, sample_boxes, seen_polarity
from picker_runtime.tomogram import Tomogram

SHAPE = (48, 96, 96)


def noisy(particles: float, *, shape: Triple = SHAPE, seed: int = 0) -> np.ndarray:
    """Return unit noise with balls of 5 voxels radius of this contrast, on 2 % of the volume."""
    rng = np.random.default_rng(seed)
    volume = rng.standard_normal(shape, dtype=np.float32)
    grid = np.indices(shape)
    for _ in range(round(0.02 * np.prod(shape) / 524)):
        centre = rng.uniform(5, np.array(shape) - 5)
        volume[((grid - centre[:, None, None, None]) ** 2).sum(axis=0) < 25] += particles
    return volume


def look(volume: np.ndarray, *, invert: bool = False) -> str | None:
    tomogram = Tomogram.from_array(volume * 3 + 100, 10.0)
    return seen_polarity(NormalisedSource(tomogram, measure(tomogram), invert), tomogram.shape)


@pytest.mark.parametrize(("contrast", "expected"), [(-1.0, "dark"), (1.0, "bright"), (0.0, None)])
def test_particles_are_seen_through_noise(contrast: float, expected: str | None) -> None:
    assert look(noisy(contrast)) == expected


def test_inverting_turns_them() -> None:
    assert look(noisy(-1.0), invert=True) == "bright"


def test_a_few_extreme_voxels_do_not_outweigh_the_particles() -> None:
    volume = noisy(-1.0)
    volume[10:14, 20:24, 30:34] = 1e6
    assert look(volume) == "dark"


def test_too_little_says_nothing() -> None:
    assert look(noisy(-3.0, shape=(24, 28, 32))) is None
    skewed = np.r_[np.zeros(400), np.arange(100)].astype(float) + np.random.default_rng(0).normal(size=500)
    assert robust_skewness(skewed) == 0.0
    assert robust_skewness(np.tile(skewed, 2)) > 1 and 2 * len(skewed) > MIN_BLOCKS


def test_what_cannot_be_read_says_nothing() -> None:
    class Nothing:
        mean, inverse_std = 0.0, 1.0

        def read(self, box: Box) -> None:
            return None

    assert seen_polarity(Nothing(), (64, 64, 64)) is None


def test_a_flat_background_says_nothing() -> None:
    assert robust_skewness(np.r_[np.zeros(1000), np.ones(10)]) == 0.0


@pytest.mark.parametrize("shape", [(200, 512, 512), (27, 32, 22), (16, 4096, 100), (48, 48, 48), (95, 96, 97)])
def test_boxes_are_few_whole_blocks_and_inside(shape: Triple) -> None:
    boxes = sample_boxes(shape)
    assert 1 <= len(boxes) <= 64
    assert len(set(boxes)) == len(boxes)
    for box in boxes:
        assert box.intersection(Box.whole(shape)) == box and box.voxels
        assert all(edge % 4 == 0 and edge <= 48 for edge in box.shape)
    for axis, n in enumerate(shape):
        assert min(box.start[axis] for box in boxes) <= n // 2 <= max(box.stop[axis] for box in boxes)

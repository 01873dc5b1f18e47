from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from picker_training.augmentation import Augmentation, make_sample
from picker_training.datasets.scenes import StoredScene, reflected
from picker_training.warping import SPLINE_REACH, Warp, draw_warp, rotation

CROP = 24
ALL = Augmentation(
    crop=CROP, halo=4, snr=(1e6, 1e6), turn_probability=0.0, int8_probability=0.0, half_turns=False, mirror=False,
    warp_probability=1.0, spin_degree=180.0, tilt_degree=10.0, scale=0.05,
)  # fmt: skip
SHAPE = (40, 64, 64)


def blobs(positions: NDArray[np.float64], sigma: float = 1.5) -> NDArray[np.float32]:
    grid = np.stack(np.indices(SHAPE), axis=-1)
    return sum(np.exp(-((grid - p) ** 2).sum(axis=-1) / (2 * sigma**2)) for p in positions).astype(np.float32)


def scene(positions: NDArray[np.float64]) -> StoredScene:
    rng = np.random.default_rng(0)
    volumes = np.stack([blobs(positions), rng.normal(size=SHAPE)]).astype(np.float16)
    flat = volumes.reshape(2, -1).astype(np.float32)
    return StoredScene(
        volumes=volumes, sample_signal=flat[0], sample_noise=flat[1], positions=positions,
        class_ids=np.zeros(len(positions), np.int32),
    )  # fmt: skip


def centroid(cube: NDArray[np.float32], near: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the centre of mass of what lies within 4 voxels of a place."""
    grid = np.stack(np.indices(cube.shape), axis=-1)
    weight = np.where(((grid - near) ** 2).sum(axis=-1) < 16, np.maximum(cube, 0.0), 0.0)
    centre: NDArray[np.float64] = (grid * weight[..., None]).sum(axis=(0, 1, 2)) / weight.sum()
    return centre


@pytest.mark.parametrize("seed", range(12))
def test_positions_follow_what_is_warped(seed: int) -> None:
    grid = np.array([[z, y, x] for z in (6, 19, 33) for y in (9, 31, 54) for x in (8, 33, 55)], float)
    positions = grid + np.random.default_rng(seed).uniform(-2, 2, grid.shape)
    source = scene(positions)
    rng = np.random.default_rng(seed)
    warp = draw_warp(ALL, rng)
    start = np.array([8, 20, 20])
    cube = warp.cut(source.read_signal, start)
    assert cube.shape == (CROP,) * 3
    assert cube.dtype == np.float32
    moved = warp.move(positions - start)
    inside = moved[np.all((moved > 4) & (moved < CROP - 5), axis=1)]
    assert len(inside) >= 1
    for place in inside:
        assert centroid(cube, place) == pytest.approx(place, abs=0.1)


@given(st.integers(0, 10**6))
@settings(max_examples=30)
def test_a_warp_is_as_small_as_asked_for(seed: int) -> None:
    small = replace(ALL, spin_degree=30.0)
    matrix = draw_warp(small, np.random.default_rng(seed)).matrix
    scale = 1 / np.cbrt(np.linalg.det(matrix))
    turn = matrix * scale
    assert 0.95 - 1e-9 <= scale <= 1.05 + 1e-9
    assert turn @ turn.T == pytest.approx(np.eye(3), abs=1e-9)
    tilt = np.degrees(np.arccos(np.clip(turn[0, 0], -1, 1)))
    assert tilt <= 10.0 * 2**0.5
    assert abs(np.degrees(np.arctan2(turn[2, 1], turn[1, 1]))) <= 30.0 + 2.0  # about z, but for what the tilts add


def test_warps_use_the_whole_of_their_bounds() -> None:
    matrices = [draw_warp(ALL, np.random.default_rng(seed)).matrix for seed in range(60)]
    scales = [1 / np.cbrt(np.linalg.det(m)) for m in matrices]
    spins = [np.degrees(np.arctan2(m[2, 1], m[1, 1])) for m in matrices]
    tilts = [np.degrees(np.arctan2(m[0, 1], m[0, 0])) for m in matrices]
    assert (min(scales), max(scales)) == (pytest.approx(0.95, abs=0.01), pytest.approx(1.05, abs=0.01))
    assert min(spins) < -150 and max(spins) > 150
    assert min(tilts) < -7 and max(tilts) > 7


def test_a_rotation_turns_the_axes_that_are_not_its_own() -> None:
    assert rotation(0, np.pi / 2) @ [1.0, 2.0, 3.0] == pytest.approx([1.0, -3.0, 2.0])
    assert rotation(1, np.pi / 2) @ [1.0, 2.0, 3.0] == pytest.approx([-3.0, 2.0, 1.0])
    assert rotation(2, np.pi / 2) @ [1.0, 2.0, 3.0] == pytest.approx([-2.0, 1.0, 3.0])


def test_no_warp_leaves_the_crop_as_it_is() -> None:
    source = scene(np.array([[20.0, 30.0, 31.0]]))
    same, start = Warp(matrix=np.eye(3), crop=CROP), np.array([9, 18, 20])
    assert same.margin == SPLINE_REACH
    assert same.cut(source.read_signal, start) == pytest.approx(source.read_signal(start, CROP), abs=1e-3)
    assert same.move(source.positions) == pytest.approx(source.positions)
    assert not same.outside(start, SHAPE).any()


def test_a_quarter_turn_is_numpy_s() -> None:
    source = scene(np.array([[20.0, 27.0, 31.0], [15.0, 30.0, 24.0]]))
    turn, start = Warp(matrix=np.round(rotation(0, np.pi / 2)), crop=CROP), np.array([9, 18, 20])
    plain = source.read_signal(start, CROP)
    assert turn.cut(source.read_signal, start) == pytest.approx(np.rot90(plain, -1, axes=(1, 2)), abs=1e-3)


def test_a_warped_crop_shows_nothing_that_was_not_read() -> None:
    """With a margin narrower than its reach a turned crop would mirror what lies inside it."""
    turn = Warp(matrix=rotation(0, np.pi / 4), crop=CROP)
    ramp = np.broadcast_to(np.arange(64, dtype=np.float32), SHAPE)

    def read(start: NDArray[np.int64], edge: int) -> NDArray[np.float32]:
        z, y, x = (reflected(np.arange(a, a + edge), n) for a, n in zip(start.tolist(), SHAPE, strict=True))
        return ramp[np.ix_(z, y, x)]

    cube = turn.cut(read, np.array([8, 20, 20]))
    axis = np.arange(CROP) - (CROP - 1) / 2
    wanted = 20 + (CROP - 1) / 2 + (axis[:, None] + axis) * np.sin(np.pi / 4)
    assert cube == pytest.approx(np.broadcast_to(wanted, (CROP,) * 3), abs=2e-2)


def test_voxels_from_beyond_the_faces_are_unknown() -> None:
    half = Warp(matrix=rotation(0, np.pi / 4), crop=CROP)
    beyond = half.outside(np.array([0, 0, 20]), SHAPE)
    axis = np.arange(CROP) - (CROP - 1) / 2
    y = (axis[:, None] - axis) * np.sin(np.pi / 4) + (CROP - 1) / 2
    assert np.array_equal(beyond, np.broadcast_to(y < -0.5, beyond.shape))
    assert 0 < beyond.sum() < beyond.size / 4
    above = half.outside(np.array([SHAPE[0] - CROP, SHAPE[1] - CROP, 20]), SHAPE)
    assert np.array_equal(above, np.broadcast_to(y > CROP - 0.5, above.shape))


def test_a_warped_sample_tells_its_particles_and_what_it_does_not_know() -> None:
    source = scene(np.array([[20.0, 30.0, 31.0]]))
    told = 0
    around = replace(ALL, balanced_probability=1.0)
    for seed in range(12):
        sample = make_sample(source, around, np.random.default_rng(seed))
        assert sample.unknown is not None
        assert sample.cube.shape == sample.unknown.shape == (CROP,) * 3
        for place in sample.positions[np.all((sample.positions > 4) & (sample.positions < CROP - 5), axis=1)]:
            told += 1
            assert centroid(sample.cube - np.median(sample.cube), place) == pytest.approx(place, abs=0.5)
    assert told >= 3
    unwarped = replace(around, warp_probability=0.0)  # the particle is so far inside that the crop is too
    assert make_sample(source, unwarped, np.random.default_rng(0)).unknown is None

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from picker_training.augmentation import Augmentation, Sample, make_sample
from picker_training.datasets.scenes import StoredScene

SHAPE = (40, 48, 56)
PLAIN = Augmentation(
    crop=24, halo=4, snr=(1e6, 1e6), turn_probability=0.0, int8_probability=0.0, mirror=False
)  # no noise to speak of


def scene(count: int = 25, *, seed: int = 0) -> StoredScene:
    """Return a scene of faint noise in which the voxel of every particle stands out by its class."""
    rng = np.random.default_rng(seed)
    volumes = rng.normal(size=(2, *SHAPE)).astype(np.float16)
    volumes[0] *= np.float16(0.01)
    positions = np.unique(rng.integers(0, SHAPE, (count, 3)), axis=0)
    class_ids = (np.arange(len(positions)) % 2).astype(np.int32)
    volumes[(0, *positions.T)] = 1.0 + class_ids
    volumes[1] /= volumes[1].astype(np.float32).std()
    flat = volumes.reshape(2, -1).astype(np.float32)
    return StoredScene(
        volumes=volumes, sample_signal=flat[0], sample_noise=flat[1], positions=positions.astype(np.float64),
        class_ids=class_ids,
    )  # fmt: skip


def with_signal(signal: NDArray[np.floating]) -> StoredScene:
    """Return a scene of a given signal without particles."""
    plain = scene(0)
    plain.volumes[0] = signal
    return replace(plain, sample_signal=plain.volumes[0].reshape(-1).astype(np.float32))


def assert_bright_at_its_particles(sample: Sample) -> None:
    inside = np.all((sample.positions >= 0) & (sample.positions <= sample.cube.shape[0] - 1), axis=1)
    voxels = np.round(sample.positions[inside]).astype(int)
    assert (sample.cube[tuple(voxels.T)] == 5.0).all()  # clipped there


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("changes", [{}, {"mirror": True}, {"turn_probability": 1.0}])
def test_positions_follow_the_voxels(seed: int, changes: dict[str, Any]) -> None:
    sample = make_sample(scene(), replace(PLAIN, **changes), np.random.default_rng(seed))
    assert sample.cube.shape == (24, 24, 24)
    assert sample.cube.dtype == np.float32
    assert sample.positions.dtype == np.float32
    assert sample.class_ids.dtype == np.int64
    assert_bright_at_its_particles(sample)


def test_every_particle_of_the_crop_is_told() -> None:
    told = 0
    for seed in range(10):
        sample = make_sample(scene(), replace(PLAIN, halo=0), np.random.default_rng(seed))
        inside = np.all((sample.positions >= 0) & (sample.positions < 24), axis=1)
        assert np.count_nonzero(sample.cube == 5.0) == np.count_nonzero(inside)
        told += len(sample.positions)
    assert told > 10


def test_both_mirrors_and_turns_happen() -> None:
    z, y, x = np.indices(SHAPE)
    marked = with_signal(0.01 * z + 0.02 * y + 0.03 * x)
    seen = set()
    for seed in range(60):
        augmentation = replace(PLAIN, mirror=True, turn_probability=0.5)
        cube = make_sample(marked, augmentation, np.random.default_rng(seed)).cube.astype(np.float64)
        steps = [float(np.median(np.diff(cube, axis=axis))) for axis in range(3)]
        seen.add((*np.sign(steps), abs(steps[1]) > abs(steps[2])))
    assert len(seen) == 16


def test_crops_reach_beyond_the_faces_by_the_halo_and_no_further() -> None:
    starts = []
    marked = replace(scene(1), positions=np.array([[20.0, 24.0, 28.0]]))
    for seed in range(300):
        sample = make_sample(marked, replace(PLAIN, crop=40), np.random.default_rng(seed))
        if len(sample.positions):
            starts.append(marked.positions[0] - sample.positions[0])
    low, high = np.min(starts, axis=0), np.max(starts, axis=0)
    assert low.tolist() == [-4, -4, -4]
    assert high.tolist() == [4, 12, 20]


def test_a_scene_smaller_than_the_crop_is_reflected() -> None:
    sample = make_sample(scene(), replace(PLAIN, crop=64), np.random.default_rng(0))
    assert sample.cube.shape == (64, 64, 64)
    assert np.isfinite(sample.cube).all()
    assert_bright_at_its_particles(sample)


@pytest.mark.parametrize("int8_probability", [0.0, 1.0])
def test_values_are_normalised_and_clipped(int8_probability: float) -> None:
    augmentation = replace(PLAIN, snr=(0.1, 0.1), int8_probability=int8_probability)
    sample = make_sample(scene(), augmentation, np.random.default_rng(0))
    assert np.median(sample.cube) == pytest.approx(0.0, abs=0.1)
    assert sample.cube.std() == pytest.approx(1.0, abs=0.1)
    assert np.abs(sample.cube).max() <= 5.0


def test_int8_storage_leaves_few_values() -> None:
    augmentation = replace(PLAIN, snr=(0.1, 0.1), int8_probability=1.0)
    assert len(np.unique(make_sample(scene(), augmentation, np.random.default_rng(0)).cube)) <= 256


def test_the_snr_sets_how_much_of_the_cube_is_noise() -> None:
    """With a wave of variance 1 as signal, its share of the variance is snr / (1 + snr)."""
    marked = with_signal(np.broadcast_to(np.sin(np.arange(SHAPE[2]) * 2 * np.pi / 8) * 2**0.5, SHAPE))
    for snr in (0.5, 2.0):
        samples = (
            make_sample(marked, replace(PLAIN, snr=(snr, snr)), np.random.default_rng(seed)).cube for seed in range(3)
        )
        for cube in samples:
            signal = cube.mean(axis=(0, 1))
            assert (signal.var() / (cube - signal).var()) == pytest.approx(snr, rel=0.15)


def test_a_sample_depends_on_its_generator_alone() -> None:
    one, same, other = (make_sample(scene(), Augmentation(crop=24), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.cube, same.cube)
    assert not np.array_equal(one.cube, other.cube)


@pytest.mark.parametrize("seed", range(6))
def test_ignored_balls_are_mirrored_and_turned_with_the_particles(seed: int) -> None:
    cube = np.zeros((24, 24, 24), np.float32)
    places = np.random.default_rng(seed).uniform(0, 23, (5, 3)).astype(np.float32)
    plain = Sample(
        cube=cube, positions=places, class_ids=np.zeros(5, np.int64),
        ignored=np.hstack([places, np.full((5, 1), 3.0, np.float32)]),
    )  # fmt: skip

    class Fixed:
        def cut(self, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
            return plain

    sample = make_sample(Fixed(), Augmentation(turn_probability=0.5), np.random.default_rng(seed))
    assert np.array_equal(sample.ignored[:, :3], sample.positions)
    assert (sample.ignored[:, 3] == 3.0).all()

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from picker_runtime.geometry import Box
from picker_training.augmentation import (
    CLIP,
    FILL,
    Augmentation,
    Sample,
    draw_start,
    erased,
    happens,
    make_sample,
    mixed,
)
from picker_training.datasets.scenes import StoredScene

SHAPE = (40, 48, 56)
PLAIN = Augmentation(
    crop=24, halo=4, snr=(1e6, 1e6), turn_probability=0.0, int8_probability=0.0, half_turns=False, mirror=False
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
@pytest.mark.parametrize(
    "changes", [{}, {"half_turns": True}, {"half_turns": True, "mirror": True}, {"turn_probability": 1.0}]
)
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
        known = np.ones(sample.cube.shape, np.bool_) if sample.unknown is None else ~sample.unknown
        assert np.count_nonzero(sample.cube[known] == 5.0) == np.count_nonzero(inside)
        told += len(sample.positions)
    assert told > 10


def test_both_mirrors_and_turns_happen() -> None:
    z, y, x = np.indices(SHAPE)
    marked = with_signal(0.01 * z + 0.02 * y + 0.03 * x)
    seen = set()
    for seed in range(60):
        augmentation = replace(PLAIN, half_turns=True, mirror=True, turn_probability=0.5)
        cube = make_sample(marked, augmentation, np.random.default_rng(seed)).cube.astype(np.float64)
        steps = [float(np.median(np.diff(cube, axis=axis))) for axis in range(3)]
        seen.add((*np.sign(steps), abs(steps[1]) > abs(steps[2])))
    assert len(seen) == 16


@pytest.mark.parametrize(("half_turns", "count"), [(True, 8), (False, 2)])
def test_without_mirror_images_all_are_rotations(half_turns: bool, count: int) -> None:
    z, y, x = np.indices(SHAPE)
    marked = with_signal(0.01 * z + 0.02 * y + 0.03 * x)
    augmentation = replace(PLAIN, half_turns=half_turns, turn_probability=0.5)
    seen = set()
    for seed in range(60):
        cube = make_sample(marked, augmentation, np.random.default_rng(seed)).cube.astype(np.float64)
        steps = [float(np.median(np.diff(cube, axis=axis))) for axis in range(3)]
        swapped = abs(steps[1]) > abs(steps[2])
        assert np.prod(np.sign(steps)) * (-1 if swapped else 1) == 1
        seen.add((*np.sign(steps), swapped))
    assert len(seen) == count


def test_crops_reach_beyond_the_faces_by_the_halo_and_at_the_end_by_what_fills_a_cube() -> None:
    starts = []
    marked = replace(scene(1), positions=np.array([[20.0, 24.0, 28.0]]))
    for seed in range(300):
        sample = make_sample(marked, replace(PLAIN, crop=40), np.random.default_rng(seed))
        if len(sample.positions):
            starts.append(marked.positions[0] - sample.positions[0])
    low, high = np.min(starts, axis=0), np.max(starts, axis=0)
    assert low.tolist() == [-4, -4, -4]
    assert high.tolist() == [11, 19, 27]


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


def blank(edge: int = 20, *, seed: int = 0, known: bool = True) -> Sample:
    rng = np.random.default_rng(seed)
    places = rng.uniform(-2.0, edge + 1.0, (30, 3)).astype(np.float32)
    unknown = np.zeros((edge,) * 3, np.bool_)
    unknown[seed % edge] = True
    return Sample(
        cube=rng.normal(size=(edge,) * 3).astype(np.float32),
        positions=places,
        class_ids=rng.integers(0, 3, 30),
        ignored=np.hstack([places[:2], np.full((2, 1), 3.0, np.float32)]),
        unknown=None if known else unknown,
    )


def test_what_never_happens_leaves_the_generator_as_it_was() -> None:
    rng = np.random.default_rng(0)
    assert not happens(0.0, rng)
    assert float(rng.random()) == float(np.random.default_rng(0).random())
    assert all(happens(1.0, rng) for _ in range(5))


@pytest.mark.parametrize("seed", range(10))
def test_an_erased_box_keeps_its_values_and_none_of_its_particles(seed: int) -> None:
    before = blank(seed=seed)
    after = erased(before, np.random.default_rng(seed))
    changed = np.argwhere(after.cube != before.cube)
    low, high = changed.min(axis=0), changed.max(axis=0)
    box = tuple(slice(a, b + 1) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    assert np.array_equal(np.sort(after.cube[box], axis=None), np.sort(before.cube[box], axis=None))
    assert len(changed) > 0.8 * after.cube[box].size
    assert np.all(high - low + 1 <= 6)  # 0.3 of 20 voxels
    inside = np.all((before.positions > low - 0.5) & (before.positions < high + 0.5), axis=1)
    assert np.array_equal(after.positions, before.positions[~inside])
    assert np.array_equal(after.class_ids, before.class_ids[~inside])
    assert np.array_equal(before.cube, blank(seed=seed).cube)


def test_some_particles_are_erased() -> None:
    left = [len(erased(blank(seed=s), np.random.default_rng(s)).positions) for s in range(30)]
    assert min(left) < 30
    assert max(left) == 30


def test_a_mixed_sample_holds_both_and_noise_of_the_same_strength() -> None:
    one, other = blank(seed=1, known=False), blank(seed=2)
    made = mixed(one, other, np.random.default_rng(0))
    assert np.array_equal(made.positions, np.vstack([one.positions, other.positions]))
    assert np.array_equal(made.class_ids, np.concatenate([one.class_ids, other.class_ids]))
    assert np.array_equal(made.ignored, np.vstack([one.ignored, other.ignored]))
    assert made.cube.std() == pytest.approx(1.0, abs=0.02)
    parts, residual, *_ = np.linalg.lstsq(np.stack([one.cube.ravel(), other.cube.ravel()], 1), made.cube.ravel())
    assert float(np.hypot(*parts)) == pytest.approx(1.0, abs=1e-4)
    assert 0.4 <= parts[0] / parts.sum() <= 0.6
    assert float(residual[0]) < 1e-6
    assert made.unknown is not None
    assert made.unknown[1].all() and made.unknown.sum() == 400
    both = mixed(one, blank(seed=3, known=False), np.random.default_rng(0)).unknown
    assert both is not None
    assert both[1].all() and both[3].all() and both.sum() == 800
    assert mixed(other, other, np.random.default_rng(0)).unknown is None


def test_a_mixed_sample_is_clipped() -> None:
    bright = replace(blank(), cube=np.full((20,) * 3, CLIP, np.float32))
    assert float(mixed(bright, bright, np.random.default_rng(0)).cube.max()) == CLIP


def test_crops_can_be_cut_around_particles_of_all_classes_alike() -> None:
    """One class has a single particle in a corner: half of the crops are cut around it."""
    positions = np.vstack([np.full((1, 3), 4.0), np.random.default_rng(0).uniform(24, 38, (40, 3))])
    rare = replace(scene(0), positions=positions, class_ids=np.array([1] + [0] * 40, np.int32))
    seen = {0.0: 0, 1.0: 0}
    for probability in seen:
        augmentation = replace(PLAIN, crop=16, halo=2, balanced_probability=probability)
        for seed in range(60):
            sample = make_sample(rare, augmentation, np.random.default_rng(seed))
            inside = np.all((sample.positions >= 0) & (sample.positions <= 15), axis=1)
            seen[probability] += int((sample.class_ids[inside] == 1).any())
    assert seen[0.0] < 8
    assert 20 <= seen[1.0] <= 40


@pytest.mark.parametrize("halo", [0, 4])
def test_a_crop_around_a_position_holds_it_well_within_or_ends_at_the_faces(halo: int) -> None:
    augmentation, rng, part = replace(PLAIN, halo=halo), np.random.default_rng(0), Box((5, 6, 7), (45, 96, 97))
    low, high = np.array(part.start) - halo, np.array(part.stop) + halo + FILL - 24
    for position in ((25.0, 50.0, 50.0), (5.5, 95.0, 50.0)):
        starts = np.array([draw_start(part, np.array(position), augmentation, rng) for _ in range(200)])
        assert np.all((starts >= low) & (starts <= high))
        places = (np.array(position) - starts) / 24
        within = (places > 0.17) & (places < 0.83)
        assert np.all(within | (starts == low) | (starts == high))
        assert within[:, 2].all() and places[:, 2].std() > 0.1


def test_what_fills_a_cube_beyond_the_halo_is_not_learnt() -> None:
    shape = np.array(SHAPE)
    marked = replace(scene(1), positions=np.array([[20.0, 24.0, 28.0]]))
    seen = set()
    for seed in range(200):
        sample = make_sample(marked, replace(PLAIN, crop=40), np.random.default_rng(seed))
        if not len(sample.positions):
            continue
        start = np.rint(marked.positions[0] - sample.positions[0]).astype(int)
        past = start + 40 - shape > 4  # the halo
        seen.add(bool(past.any()))
        if not past.any():
            assert sample.unknown is None
            continue
        place = np.moveaxis(np.indices((40, 40, 40)), 0, -1) + start
        assert np.array_equal(sample.unknown, np.any((place < 0) | (place >= shape), axis=-1))
    assert seen == {True, False}


def test_erasing_happens_as_often_as_asked_for() -> None:
    marked = scene()
    for probability, wanted in ((0.0, 0), (1.0, 8)):
        augmentation = replace(PLAIN, erase_probability=probability)
        pairs = [
            (make_sample(marked, a, np.random.default_rng(seed)).cube for a in (PLAIN, augmentation))
            for seed in range(8)
        ]
        assert sum(not np.array_equal(one, other) for one, other in pairs) == wanted

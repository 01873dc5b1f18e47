from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training.phantoms import SMALL

from picker_runtime.geometry import Box
from picker_runtime.tomogram import Tomogram
from picker_training.augmentation import Augmentation
from picker_training.datasets import scenes
from picker_training.datasets.scenes import ScenePool, StoredScene, reflected
from picker_training.simulator.scene import simulate
from picker_training.simulator.templates import Template
from picker_training.warping import Warp, rotation

SHAPE = (16, 20, 24)


@pytest.fixture
def pool(tmp_path: Path, phantoms: list[Template], monkeypatch: pytest.MonkeyPatch) -> ScenePool:
    def small_spec(rng: np.random.Generator, *, voxel_size: float) -> object:
        return replace(SMALL, particles=int(rng.integers(4, 9)), voxel_size=voxel_size, strangers=1)

    monkeypatch.setattr(scenes, "training_spec", small_spec)
    return make_pool(tmp_path / "scenes", phantoms)


def make_pool(folder: Path, templates: list[Template]) -> ScenePool:
    return ScenePool(
        folder, size=3, seed=5, templates=templates[:2], strangers=templates[2:], voxel_size=10.0,
        device=torch.device("cpu"),
    )  # fmt: skip


@given(length=st.integers(2, 12), before=st.integers(0, 40), after=st.integers(0, 40))
def test_reflection_is_numpy_s(length: int, before: int, after: int) -> None:
    wanted = np.pad(np.arange(length), (before, after), mode="reflect")
    assert reflected(np.arange(-before, length + after), length).tolist() == wanted.tolist()


def test_one_layer_is_repeated() -> None:
    assert reflected(np.arange(-3, 4), 1).tolist() == [0] * 7


@pytest.mark.parametrize("start", [(-8, -3, 0), (5, 10, 12), (-30, -40, 20), (4, 4, 4)])
def test_crops_are_padded_as_the_runtime_pads(start: tuple[int, int, int]) -> None:
    crop, values = 16, np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float16)
    z, y, x = start
    box = Box(start, (z + crop, y + crop, x + crop))
    wanted = Tomogram.from_array(values[0].astype(np.float32), 10.0).read(box)
    assert np.array_equal(stored(values).read_signal(np.array(start), crop), wanted)


@pytest.mark.parametrize("start", [(-8, -3, 0), (5, 10, 12), (-10, -12, 20), (4, 4, 4), (-3, 8, -5)])
def test_noise_has_its_mirror_at_the_faces_where_the_signal_has(start: tuple[int, int, int]) -> None:
    crop, chance = 16, np.random.default_rng(1)
    values = np.stack([np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)] * 2)  # all different
    scene = stored(values)
    signal = scene.read_signal(np.array(start), crop)
    several = [scene.read_noise(np.array(start), crop, chance) for _ in range(8)]
    for noise in several:
        same_signal = [np.unique(signal, return_inverse=True)[1], np.unique(noise, return_inverse=True)[1]]
        pairs = set(zip(*(part.ravel().tolist() for part in same_signal), strict=True))
        assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})
    assert any(not np.array_equal(noise, several[0]) for noise in several)


def test_noise_comes_from_everywhere_and_both_ways_round() -> None:
    values = np.stack([np.broadcast_to(np.arange(SHAPE[2], dtype=np.float32), SHAPE)] * 2)
    chance = np.random.default_rng(2)
    rows = [stored(values).read_noise(np.array([0, 0, 0]), 16, chance)[0, 0] for _ in range(200)]
    assert {float(row.min()) for row in rows} == set(range(SHAPE[2] - 15))
    assert {float(row[1] - row[0]) for row in rows} == {1.0, -1.0}


@pytest.mark.parametrize("warped", [False, True])
def test_the_noise_of_a_sample_at_a_face_has_its_mirror_unless_the_signal_is_warped(warped: bool) -> None:
    chance = np.random.default_rng(3)
    noise = np.stack([np.zeros(SHAPE), chance.normal(size=SHAPE)]).astype(np.float32)
    beyond = np.full((1, 3), -5.0)  # so that every crop starts at the first voxel it may
    scene = replace(
        stored(noise), sample_signal=np.zeros(999, np.float32), sample_noise=noise[1].ravel()[:999], positions=beyond,
        class_ids=np.zeros(1, np.int32),
    )  # fmt: skip
    augmentation = Augmentation(
        crop=16, halo=4, balanced_probability=1.0, int8_probability=0.0, warp_probability=float(warped), spin_degree=5.0
    )
    for seed in range(8):
        cube = scene.cut(augmentation, np.random.default_rng(seed)).cube
        for axis in range(3):
            beyond, within = np.take(cube, range(4), axis), np.take(cube, range(8, 4, -1), axis)
            assert np.array_equal(beyond, within) is not warped


def test_noise_is_warped_as_its_signal_and_stays_as_strong() -> None:
    """Noise that varies along x alone varies along y alone after a quarter turn."""
    chance = np.random.default_rng(4)
    noise = np.broadcast_to(chance.normal(size=SHAPE[2]), SHAPE)
    scene = stored(np.stack([np.zeros(SHAPE), noise]).astype(np.float32))
    turn = Warp(matrix=np.round(rotation(0, np.pi / 2)), crop=16)
    warped = scene._warped_noise(turn, np.array([4, 4, 4]), np.random.default_rng(5))
    assert np.ptp(warped, axis=2).max() < 0.05 < np.ptp(warped, axis=1).min()
    tilt = Warp(matrix=rotation(0, 0.3), crop=16)
    white = stored(np.stack([np.zeros(SHAPE), chance.normal(size=SHAPE)]).astype(np.float32))
    turned = [white._warped_noise(tilt, np.array([4, 4, 4]), np.random.default_rng(i)).std() for i in range(5)]
    assert np.mean(turned) == pytest.approx(1.0, abs=0.03)


def stored(volumes: np.ndarray) -> StoredScene:
    """Return a scene without particles, of signal and noise."""
    nothing = np.zeros(0, np.float32)
    return StoredScene(
        volumes=volumes, sample_signal=nothing, sample_noise=nothing, positions=np.zeros((0, 3)),
        class_ids=np.zeros(0, np.int32),
    )  # fmt: skip


def test_a_scene_depends_on_seed_and_number_alone(pool: ScenePool, tmp_path: Path, phantoms: list[Template]) -> None:
    pool[0], pool[2]
    first = pool[2]
    again = make_pool(tmp_path / "elsewhere", phantoms)[2]
    assert np.array_equal(first.volumes, again.volumes)
    assert np.array_equal(first.sample_signal, again.sample_signal)
    assert np.array_equal(first.positions, again.positions)
    assert not np.array_equal(first.volumes, pool[0].volumes)


def test_strangers_are_in_the_signal_but_no_particles(
    pool: ScenePool, tmp_path: Path, phantoms: list[Template]
) -> None:
    mixed, clean = pool[0], make_pool(tmp_path / "clean", phantoms[:2])[0]
    assert np.array_equal(mixed.positions, clean.positions)
    assert np.array_equal(mixed.class_ids, clean.class_ids)
    assert np.array_equal(mixed.volumes[1], clean.volumes[1])
    assert not np.allclose(mixed.volumes[0], clean.volumes[0], atol=0.1)


def test_a_scene_is_simulated_once(pool: ScenePool, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pool[1]
    monkeypatch.setattr(scenes, "simulate", lambda *_, **__: pytest.fail("simulated again"))
    assert np.array_equal(pool[1].volumes, first.volumes)


def test_a_scene_that_was_not_finished_is_made_again(pool: ScenePool) -> None:
    first = np.array(pool[0].volumes)
    (pool.folder / "5_00000.npz").unlink()
    (pool.folder / "5_00000.npy").write_bytes(b"half")
    assert np.array_equal(pool[0].volumes, first)


def test_what_is_stored_is_signal_and_noise_of_unit_variance(phantoms: list[Template], pool: ScenePool) -> None:
    stored = pool[0]
    assert stored.volumes.dtype == np.float16
    assert stored.shape == SMALL.shape
    signal, noise = np.asarray(stored.volumes, np.float32)
    assert noise.std() == pytest.approx(1.0, rel=0.01)
    assert 0.9 < signal.std() < 2.0  # particles alone have 1; the strangers come on top
    assert stored.sample_signal.std() == pytest.approx(signal.std(), rel=0.03)
    assert stored.sample_noise.std() == pytest.approx(1.0, rel=0.03)
    assert set(stored.class_ids.tolist()) <= {0, 1}
    for position in stored.positions[stored.class_ids == 0]:  # the balls
        z, y, x = np.round(position).astype(int)
        assert signal[z, y % signal.shape[1], x % signal.shape[2]] < signal.mean()


def test_samples_of_signal_and_noise_are_of_the_same_voxels(tmp_path: Path, phantoms: list[Template]) -> None:
    scene = simulate(SMALL, phantoms, 1)
    scenes.store_scene(scene, tmp_path / "one", np.random.default_rng(0))
    stored = scenes.load_scene(tmp_path / "one")
    pairs = {tuple(pair) for pair in np.asarray(stored.volumes, np.float32).reshape(2, -1).T.tolist()}
    drawn = zip(stored.sample_signal.tolist(), stored.sample_noise.tolist(), strict=True)
    assert all(pair in pairs for pair in list(drawn)[:2000])

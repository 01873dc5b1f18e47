import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training.phantoms import FullDisk, OneScene

from picker_runtime.errors import OutputError
from picker_training.augmentation import Augmentation
from picker_training.datasets.scenes import StoredScene
from picker_training.loading import FIRST_SOURCES, SAMPLES_PER_SOURCE, Batch, SampleDataset, batches

AUGMENTATION = Augmentation(crop=24, halo=4)


def stream(
    stored_scene: StoredScene,
    augmentation: Augmentation = AUGMENTATION,
    *,
    first: int = 0,
    seed: int = 0,
    workers: int = 0,
) -> list[Batch]:
    pool = OneScene(stored_scene, seed=seed)
    return list(batches(pool, augmentation, batch=2, first_step=first, steps=4, workers=workers))  # type: ignore[arg-type]


def assert_equal(one: list[Batch], other: list[Batch]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.cubes, b.cubes)
        for mine, theirs in zip([*a.positions, *a.class_ids], [*b.positions, *b.class_ids], strict=True):
            assert torch.equal(mine, theirs)


def test_a_batch_stacks_its_samples(stored_scene: StoredScene) -> None:
    (batch, *_) = stream(stored_scene)
    assert batch.cubes.shape == (2, 1, 24, 24, 24)
    assert batch.cubes.dtype == torch.float32
    assert [len(p) for p in batch.positions] == [len(c) for c in batch.class_ids]
    assert [balls.shape for balls in batch.ignored] == [(0, 4), (0, 4)]
    assert not torch.equal(batch.cubes[0], batch.cubes[1])


def test_a_resumed_run_sees_the_batches_it_would_have_seen(stored_scene: StoredScene) -> None:
    whole = stream(stored_scene)
    assert len(whole) == 4
    assert_equal(stream(stored_scene, first=2), whole[2:])


def test_the_seed_counts(stored_scene: StoredScene) -> None:
    assert not torch.equal(stream(stored_scene, seed=1)[0].cubes, stream(stored_scene)[0].cubes)


def test_a_worker_makes_the_same_samples(stored_scene: StoredScene) -> None:
    assert_equal(stream(stored_scene, workers=1), stream(stored_scene))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_ours_arrives_as_it_is(workers: int, stored_scene: StoredScene) -> None:
    stream = batches(FullDisk(stored_scene), AUGMENTATION, batch=2, first_step=0, steps=4, workers=workers)  # type: ignore[arg-type]
    assert len(next(stream).positions) == 2
    with pytest.raises(OutputError, match=r"E71 scenes/0003\.npy: the disk is full\. Fix: make room\."):
        next(stream)


def test_the_first_samples_come_from_few_scenes_and_later_ones_from_all(stored_scene: StoredScene) -> None:
    asked: list[int] = []

    class Many:
        seed, size = 0, 20

        def __getitem__(self, number: int) -> StoredScene:
            asked.append(number)
            return stored_scene

    dataset = SampleDataset(Many(), AUGMENTATION, first=0, count=400)  # type: ignore[arg-type]
    for index in range(400):
        dataset[index]
        assert asked[-1] < min(20, FIRST_SOURCES + index // SAMPLES_PER_SOURCE)
    assert set(asked[:8]) < set(range(8))
    assert set(asked[200:]) == set(range(20))


def test_mixed_samples_hold_the_particles_of_two(stored_scene: StoredScene) -> None:
    everything = replace(
        AUGMENTATION, mix_probability=1.0, warp_probability=0.5, spin_degree=90.0, erase_probability=0.5,
        balanced_probability=0.5,
    )  # fmt: skip
    plain, mixed = stream(stored_scene), stream(stored_scene, replace(AUGMENTATION, mix_probability=1.0))
    for one, other in zip(plain, mixed, strict=True):
        for few, more in zip(one.positions, other.positions, strict=True):
            assert torch.equal(more[: len(few)], few)
    assert sum(len(p) for b in mixed for p in b.positions) > 1.3 * sum(len(p) for b in plain for p in b.positions)
    assert_equal(stream(stored_scene, everything, first=2), stream(stored_scene, everything)[2:])


def test_workers_that_are_left_while_they_are_busy_end_in_silence() -> None:
    program = Path(__file__).with_name("abandoned_loader.py")
    done = subprocess.run([sys.executable, "-W", "ignore", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "left\n", "")

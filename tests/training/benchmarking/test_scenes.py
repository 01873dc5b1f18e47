"""Scenes of a protocol: made once, the same for the same protocol, at the SNRs asked for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training.benchmarking.tiny_protocol import TINY

from picker_training.augmentation import Augmentation, make_sample
from picker_training.benchmarking import scenes as module
from picker_training.benchmarking.scenes import BenchmarkScenes, prepare_scenes

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, phantom_folder: Path) -> BenchmarkScenes:
    return prepare_scenes(TINY, tmp_path_factory.mktemp("scenes"), phantom_folder, CPU)


def sample(scenes: BenchmarkScenes, number: int) -> np.ndarray:
    return make_sample(scenes.pool()[number], Augmentation(crop=16, halo=4), np.random.default_rng(5)).cube


def test_the_same_protocol_gives_the_same_scenes(made: BenchmarkScenes, tmp_path: Path, phantom_folder: Path) -> None:
    again = prepare_scenes(TINY, tmp_path, phantom_folder, CPU)
    for difficulty in TINY.difficulties:
        for one, other in (
            (made.test_folder(difficulty), again.test_folder(difficulty)),
            (made.calibration_folder(difficulty), again.calibration_folder(difficulty)),
        ):
            for name in ("reconstruction.mrc", "occupancy_mask.mrc", "particle_locations.txt"):
                assert (one / name).read_bytes() == (other / name).read_bytes()
    np.testing.assert_array_equal(sample(made, 1), sample(again, 1))


def test_what_is_there_is_not_simulated_again(
    made: BenchmarkScenes, phantom_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(module, "simulate")
    assert prepare_scenes(TINY, made.folder.parent, phantom_folder, CPU) == made


def test_only_the_missing_difficulty_is_made(
    made: BenchmarkScenes, phantom_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    monkeypatch.setattr(module, "write_truth", lambda folder, *_, **__: written.append(folder))
    easier = replace(TINY.difficulties[0], name="easier", snr=8.0)
    prepare_scenes(replace(TINY, difficulties=(*TINY.difficulties, easier)), made.folder.parent, phantom_folder, CPU)
    assert [folder.name for folder in written] == ["snr8", "snr8"]


def test_calibration_and_test_are_different_scenes_at_every_snr(made: BenchmarkScenes) -> None:
    easy, hard = TINY.difficulties
    tomograms = [made.read(f(d)) for f in (made.calibration_folder, made.test_folder) for d in (easy, hard)]
    np.testing.assert_array_equal(tomograms[0].positions, tomograms[1].positions)
    assert not np.array_equal(tomograms[0].positions, tomograms[2].positions)
    assert tomograms[0].volume.std() < tomograms[1].volume.std()


def test_the_difference_of_two_renderings_is_noise_alone(made: BenchmarkScenes) -> None:
    """T = S + N sqrt(var S / SNR) with N of unit variance: the renderings at 2 and 0.2 give var S."""
    easy, hard = (made.read(made.test_folder(d)).volume for d in TINY.difficulties)
    step = float((hard - easy).std()) / (0.2**-0.5 - 2.0**-0.5)
    noise = (hard - easy) / (hard - easy).std()
    signal = easy - noise * step * 2.0**-0.5
    assert signal.std() == pytest.approx(step, rel=0.02)


def test_training_scenes_are_those_of_the_seeds(made: BenchmarkScenes) -> None:
    pool = made.pool(7)
    assert (pool.size, pool.seed) == (2, 7)
    assert len(pool[0].positions) == len(pool[1].positions) == TINY.spec.particles
    assert not np.array_equal(pool[0].positions, pool[1].positions)

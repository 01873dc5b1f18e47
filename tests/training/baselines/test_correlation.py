"""The search through a basis against plain matching of every orientation at every voxel."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from training.phantoms import SHARP, hook

from picker_training.baselines import correlation
from picker_training.baselines.correlation import Mixtures, best_correlations, fit_orientations, side_by_side
from picker_training.baselines.rotation_basis import RotationBasis, draw_orientations, make_basis
from picker_training.baselines.rotations import even_rotations

CPU = torch.device("cpu")
ROTATIONS = even_rotations(5)
"""With the half turns twenty."""

VOXEL_SIZE = 10.0


@pytest.fixture(scope="module")
def basis() -> RotationBasis:
    return make_basis(hook(), ROTATIONS, SHARP, VOXEL_SIZE, energy=1.0)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 3.0


def plain_correlations(volume: torch.Tensor, images: torch.Tensor, mask: torch.Tensor) -> NDArray[np.float32]:
    """Return the best normalised correlation at every voxel, one orientation after the other, without any FFT."""
    half = mask.shape[0] // 2
    inside = mask.numpy().ravel() > 0
    padded = np.pad(volume.numpy() - volume.numpy().mean(), half)
    cubes = np.lib.stride_tricks.sliding_window_view(padded, mask.shape).reshape(-1, mask.numel())[:, inside]
    cubes = cubes - cubes.mean(axis=1, keepdims=True)
    cubes /= np.linalg.norm(cubes, axis=1, keepdims=True)
    scores = np.stack([cubes @ image for image in images.numpy()])
    return scores.max(axis=0).reshape(volume.shape)


@pytest.mark.parametrize("first_tilt", [-60.0, -40.0])
def test_scores_are_those_of_plain_matching(first_tilt: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlation, "VOXELS_AT_A_TIME", 100)
    monkeypatch.setattr(correlation, "ORIENTATIONS_AT_A_TIME", 8)  # the last come in a part of their own
    volume = noise(13, 17, 15)
    microscope = replace(SHARP, tilts_degree=tuple(np.linspace(first_tilt, 60.0, 15).tolist()))
    basis = make_basis(hook(), ROTATIONS, microscope, VOXEL_SIZE, energy=1.0)
    images, mask = draw_orientations(hook(), basis.rotations, microscope, VOXEL_SIZE)
    found = best_correlations(Mixtures.single(volume), basis, device=CPU)
    assert found[0].numpy() == pytest.approx(plain_correlations(volume, images, mask), abs=1e-3)


def test_where_the_blocks_meet_is_not_seen(basis: RotationBasis, monkeypatch: pytest.MonkeyPatch) -> None:
    tomogram = Mixtures.single(noise(25, 31, 19))
    whole = best_correlations(tomogram, basis, device=CPU)
    monkeypatch.setattr(correlation, "LEAST_BLOCK_EDGE", 2 * basis.half + 9)
    monkeypatch.setattr(correlation, "HALVES_PER_EDGE", 0)
    blocks: list[tuple[int, int]] = []
    in_parts = best_correlations(tomogram, basis, device=CPU, progress=lambda *step: blocks.append(step))
    assert in_parts.numpy() == pytest.approx(whole.numpy(), abs=1e-5)
    assert blocks == [(i, 3 * 4 * 3) for i in range(1, 37)]


def test_mixtures_are_matched_as_if_each_were_alone(basis: RotationBasis) -> None:
    parts = torch.stack([noise(14, 12, 16, seed=1), noise(14, 12, 16, seed=2)])
    mixtures = Mixtures(parts=parts, weights=torch.tensor([[1.0, 0.0], [1.0, 2.5], [0.5, 2.0], [0.0, 1.0]]))
    together = best_correlations(mixtures, basis, device=CPU)
    for number in range(len(mixtures)):
        alone = best_correlations(Mixtures.single(mixtures.tomogram(number)), basis, device=CPU)
        assert together[number].numpy() == pytest.approx(alone[0].numpy(), abs=1e-5)


def test_scale_and_offset_of_the_tomogram_change_nothing(basis: RotationBasis) -> None:
    volume = noise(12, 14, 13)
    one = best_correlations(Mixtures.single(volume), basis, device=CPU)
    other = best_correlations(Mixtures.single(0.01 * volume - 0.7), basis, device=CPU)
    assert other.numpy() == pytest.approx(one.numpy(), abs=1e-4)


def test_half_precision_is_near(basis: RotationBasis) -> None:
    tomogram = Mixtures.single(noise(14, 14, 14))
    exact = best_correlations(tomogram, basis, device=CPU)
    rough = best_correlations(tomogram, basis, device=CPU, dtype=torch.bfloat16)
    assert rough.numpy() == pytest.approx(exact.numpy(), abs=0.005)
    assert not torch.equal(rough, exact)


def test_fitting_at_places_gives_the_score_there_and_its_orientation(basis: RotationBasis) -> None:
    images, mask = draw_orientations(hook(), basis.rotations, SHARP, VOXEL_SIZE)
    volume = noise(30, 30, 40)
    particle = torch.zeros(mask.numel())
    particle[mask.reshape(-1) > 0] = images[7]
    half = basis.half
    low = (15 - half, 15 - half, 20 - half)
    volume[tuple(slice(a, a + 2 * half + 1) for a in low)] += 60.0 * particle.reshape(mask.shape)
    scores = best_correlations(Mixtures.single(volume), basis, device=CPU)[0]
    places = torch.tensor([[15, 15, 20], [0, 3, 39]])
    values, orientations = fit_orientations(volume, places, basis)
    assert values.tolist() == pytest.approx([float(scores[15, 15, 20]), float(scores[0, 3, 39])], abs=1e-4)
    assert int(orientations[0]) == 7
    assert int(scores.argmax()) == (15 * 30 + 15) * 40 + 20


def test_nothing_to_fit_gives_nothing(basis: RotationBasis) -> None:
    values, orientations = fit_orientations(noise(12, 12, 12), torch.zeros(0, 3, dtype=torch.int64), basis)
    assert (len(values), len(orientations)) == (0, 0)


def test_an_empty_neighbourhood_correlates_with_nothing(basis: RotationBasis) -> None:
    volume = torch.zeros(40, 20, 20)
    volume[:8] = noise(8, 20, 20) - 3.0
    found = best_correlations(Mixtures.single(volume), basis, device=CPU)[0]
    assert float(found[30:].abs().max()) < 0.05


def test_threads_side_by_side_find_the_same(basis: RotationBasis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlation, "VOXELS_AT_A_TIME", 100)
    tomogram = Mixtures.single(noise(13, 17, 15))
    alone = best_correlations(tomogram, basis, device=CPU)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 3)
        together = best_correlations(tomogram, basis, device=CPU)
    assert torch.get_num_threads() == 3
    torch.set_num_threads(1)
    assert together.numpy() == pytest.approx(alone.numpy(), abs=1e-6)


@pytest.mark.parametrize("threads", [1, 3])
def test_all_items_are_done_in_so_many_threads_and_an_error_comes_through(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: dict[int, int] = {}
    meeting = threading.Barrier(threads)

    def work(item: int) -> None:
        if item < threads:
            meeting.wait(20)  # all of them are at work at once
        done[item] = torch.get_num_threads()
        if item == 7:
            raise ZeroDivisionError

    with monkeypatch.context() as patch:
        reset: list[int] = []
        original = torch.set_num_threads
        patch.setattr(torch, "set_num_threads", lambda count: reset.append(count) or original(1))
        with pytest.raises(ZeroDivisionError):
            side_by_side(work, range(8), threads)
    assert done == dict.fromkeys(range(8), 1)
    assert reset == ([] if threads == 1 else [1, 1, 1, 3])

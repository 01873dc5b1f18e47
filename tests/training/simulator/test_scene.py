from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from training.phantoms import SMALL, lone

from picker_training.simulator.contaminants import GOLD, GOLD_DENSITY, STRANGER, VESICLE, gold_bead, vesicle
from picker_training.simulator.microscope import Microscope
from picker_training.simulator.scene import SceneSpec, simulate
from picker_training.simulator.templates import Template

CONTAMINATED = replace(SMALL, shape=(48, 64, 64), gold=2, vesicles=1, strangers=3)


def dark_centre(signal: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Return the centre of mass of the dark blob around a place, of its voxels above half of its depth."""
    depth = np.median(signal) - signal
    labels, _ = ndimage.label(depth > depth[tuple(np.round(near).astype(int))] / 2)
    blob = labels == labels[tuple(np.round(near).astype(int))]
    return np.array(ndimage.center_of_mass(np.where(blob, depth, 0.0)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("microscope", [Microscope(), replace(Microscope(), phase_flipped=True, ramp_cutoff=0.7)])
def test_a_lone_particle_is_seen_where_its_truth_says(
    phantoms: list[Template], microscope: Microscope, seed: int
) -> None:
    spec = SceneSpec(shape=(48, 64, 64), particles=1, microscope=microscope)
    scene = simulate(spec, phantoms[:1], seed)
    (truth,) = scene.placements.positions
    centre = dark_centre(scene.signal.numpy(), truth)
    assert np.abs(centre - truth).max() < 0.1


def test_a_particle_is_dark_and_occupies_its_own_voxels(phantoms: list[Template]) -> None:
    scene = simulate(lone(), phantoms[:1], 3)
    inside = scene.signal.numpy()[scene.occupancy == 1]
    assert inside.mean() < scene.signal.numpy().mean() - 2 * scene.signal.numpy().std()


@pytest.mark.parametrize("snr", [0.05, 0.5])
def test_the_noise_has_the_variance_that_the_snr_asks_for(phantoms: list[Template], snr: float) -> None:
    scene = simulate(SMALL, phantoms, 1)
    noise = scene.tomogram(snr) - scene.signal.numpy()
    assert float(scene.signal.var()) / noise.var() == pytest.approx(snr, rel=0.02)
    assert scene.tomogram(snr).dtype == np.float32


@pytest.mark.parametrize("noise", [{}, {"dose_per_image": 100.0}, {"structural_noise": 0.3}])
def test_noise_of_any_kind_has_unit_variance_and_no_mean(phantoms: list[Template], noise: dict[str, Any]) -> None:
    scene = simulate(replace(SMALL, microscope=replace(SMALL.microscope, **noise)), phantoms, 1)
    assert float(scene.noise.std()) == pytest.approx(1.0, rel=1e-3)
    assert float(scene.noise.mean()) == pytest.approx(0.0, abs=1e-4)
    correlation = np.corrcoef(scene.noise.numpy().ravel(), scene.signal.numpy().ravel())[0, 1]
    assert abs(correlation) < 0.1


def test_a_seed_fixes_the_scene(phantoms: list[Template]) -> None:
    one, same, other = (simulate(SMALL, phantoms, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.tomogram(0.1), same.tomogram(0.1))
    assert np.array_equal(one.placements.positions, same.placements.positions)
    assert not np.array_equal(one.tomogram(0.1), other.tomogram(0.1))


def test_contaminants_are_seen_but_are_no_truth(phantoms: list[Template]) -> None:
    scene = simulate(CONTAMINATED, phantoms[:2], 1, strangers=phantoms[2:])
    assert set(np.unique(scene.contaminants)) == {0, VESICLE, GOLD, STRANGER}
    assert set(scene.placements.class_ids.tolist()) <= {0, 1}
    assert set(np.unique(scene.occupancy)) == set(range(len(scene.placements) + 1))
    assert not np.any((scene.occupancy > 0) & (scene.contaminants != 0))
    gold = scene.signal.numpy()[scene.contaminants == GOLD].mean()
    assert gold < scene.signal.numpy()[scene.occupancy > 0].mean() < 0


def test_gold_does_not_drown_the_particles_in_noise(phantoms: list[Template]) -> None:
    plain = simulate(replace(CONTAMINATED, gold=0, vesicles=0, strangers=0), phantoms[:2], 1)
    mixed = simulate(CONTAMINATED, phantoms[:2], 1, strangers=phantoms[2:])
    assert float(mixed.signal.var()) > 2 * mixed.signal_variance
    assert mixed.signal_variance == pytest.approx(plain.signal_variance, rel=0.15)
    noise = mixed.tomogram(0.1) - mixed.signal.numpy()
    assert noise.var() == pytest.approx(mixed.signal_variance / 0.1, rel=0.02)


def test_a_gold_bead_is_a_dense_ball() -> None:
    density, mask = gold_bead(100.0, 5.0)
    assert density.max() == pytest.approx(GOLD_DENSITY)
    assert density.sum() == pytest.approx(GOLD_DENSITY * 4 / 3 * np.pi * 10.0**3, rel=0.02)
    assert mask[density > 0].all()


def test_a_vesicle_is_two_leaflets_around_water() -> None:
    density, mask = vesicle(400.0, 10.0, np.ones(3))
    middle = density.shape[0] // 2
    profile = density[middle, middle, middle:]
    assert profile[:16].max() < 0.01 * profile.max()
    peaks = [r for r in range(1, len(profile) - 1) if profile[r - 1] < profile[r] > profile[r + 1]]
    assert np.mean(peaks) == pytest.approx(20.0, abs=1.0)
    assert len(peaks) == 2
    assert not mask[middle, middle, middle]
    assert mask[density > 0.05].all()


def test_a_vesicle_is_stretched_along_the_axes_given() -> None:
    density, _ = vesicle(300.0, 10.0, np.array([1.2, 1.0, 0.8]))
    assert density.shape[0] > density.shape[1] > density.shape[2]


@pytest.mark.parametrize("periodic", [False, True])
def test_the_number_of_particles_is_as_asked_for(phantoms: list[Template], periodic: bool) -> None:
    scene = simulate(replace(SMALL, periodic=periodic), phantoms, 5, device=torch.device("cpu"))
    assert len(scene.placements) == SMALL.particles
    assert scene.signal.shape == scene.noise.shape == scene.occupancy.shape == SMALL.shape

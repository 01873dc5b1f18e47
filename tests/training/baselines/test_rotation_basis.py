from dataclasses import replace

import numpy as np
import pytest
import torch
from training.phantoms import SHARP

from picker_training.baselines import optics
from picker_training.baselines.optics import convolve, point_spread
from picker_training.baselines.rotation_basis import draw_orientations, main_directions, make_basis, sphere
from picker_training.baselines.rotations import even_rotations
from picker_training.simulator.microscope import Microscope
from picker_training.simulator.scene import SceneSpec, simulate
from picker_training.simulator.templates import Template


@pytest.mark.parametrize("microscope", [SHARP, replace(SHARP, phase_flipped=True, ramp_cutoff=0.6), Microscope()])
def test_a_template_is_what_the_simulator_shows_of_a_lone_particle(
    phantoms: list[Template], microscope: Microscope
) -> None:
    scene = simulate(SceneSpec(shape=(64, 64, 64), particles=1, microscope=microscope), phantoms[2:], 5)
    (centre,), rotation = scene.placements.positions, scene.placements.rotations
    images, mask = draw_orientations(phantoms[2], rotation, microscope, 10.0)
    voxel, half = np.round(centre).astype(int), mask.shape[0] // 2
    seen = scene.signal[tuple(slice(c - half, c + half + 1) for c in voxel)].reshape(-1)[mask.reshape(-1) > 0]
    likeness = float(torch.corrcoef(torch.stack([seen, images[0]]))[0, 1])
    off = np.linalg.norm(centre - voxel)  # up to sqrt(3) / 2 voxels: the template is drawn at the voxel's centre
    assert likeness > 0.99 - 0.2 * off


def test_a_point_at_the_middle_is_dark_and_the_wedge_is_missing() -> None:
    spread = point_spread(SHARP, 10.0, 12)
    assert spread.shape == (25, 25, 25)
    assert int(spread.argmin()) == spread.numel() // 2
    power = torch.fft.fftn(spread).abs() ** 2  # along z nothing is seen, along x everything
    assert float(power[3:10, 0, 0].sum()) < 0.05 * float(power[0, 0, 3:10].sum())


def test_the_mean_over_columns_is_as_strong_as_any_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    mean = point_spread(SHARP, 10.0, 10)
    monkeypatch.setattr(optics, "COLUMNS", 2)
    two = point_spread(SHARP, 10.0, 10)
    assert float(mean.min()) == pytest.approx(float(two.min()), rel=0.3)
    assert float(torch.corrcoef(torch.stack([mean.flatten(), two.flatten()]))[0, 1]) > 0.95


def test_convolution_with_a_shifted_point_shifts() -> None:
    maps = torch.zeros(1, 5, 5, 5)
    maps[0, 2, 2, 1] = 2.0
    spread = torch.zeros(9, 9, 9)
    spread[4, 5, 6] = 1.0  # one down, two to the right
    expected = torch.zeros(1, 5, 5, 5)
    expected[0, 2, 3, 3] = 2.0
    assert convolve(maps, spread).numpy() == pytest.approx(expected.numpy(), abs=1e-5)


def test_a_basis_is_orthonormal_of_mean_0_and_holds_its_share(phantoms: list[Template]) -> None:
    basis = make_basis(phantoms[1], even_rotations(15), SHARP, 10.0, energy=0.95)
    assert len(basis.rotations) == 60
    flat = basis.volumes.reshape(len(basis.volumes), -1)
    assert len(flat) == sum(basis.sizes) < 60
    assert (flat @ flat.T).numpy() == pytest.approx(np.eye(len(flat)), abs=1e-4)
    assert flat.sum(dim=1).numpy() == pytest.approx(np.zeros(len(flat)), abs=1e-3)
    assert float((basis.volumes * (1.0 - basis.mask)).abs().max()) == 0.0
    assert torch.linalg.vector_norm(basis.all_weights, dim=1).numpy() == pytest.approx(np.ones(60), abs=1e-5)
    images, _ = draw_orientations(phantoms[1], basis.rotations, SHARP, 10.0)
    inside = flat[:, basis.mask.reshape(-1) > 0]
    assert ((basis.all_weights @ inside) * images).sum(dim=1).min() > 0.9
    held = float(((images @ inside.T) ** 2).sum() / (images**2).sum())
    assert held == pytest.approx(basis.energy, abs=1e-4)
    assert 0.95 <= basis.energy < 0.99


@pytest.mark.parametrize(("rows", "columns"), [(4, 30), (30, 4)])
def test_all_of_the_energy_gives_every_image_back(rows: int, columns: int) -> None:
    images = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    images /= torch.linalg.vector_norm(images, dim=1, keepdim=True)
    (directions,), weights, energy = main_directions([images], 1.0)
    assert len(directions) == 4
    assert (weights @ directions).numpy() == pytest.approx(images.numpy(), abs=1e-5)
    assert energy == pytest.approx(1.0)


def test_the_directions_of_all_parts_are_the_leading_ones_of_the_whole() -> None:
    images = torch.randn(12, 30, generator=torch.Generator().manual_seed(0)) * torch.linspace(3.0, 0.1, 30)
    images /= torch.linalg.vector_norm(images, dim=1, keepdim=True)
    parts = images.clone(), images.clone()
    parts[0][:, ::2], parts[1][:, 1::2] = 0.0, 0.0
    directions, weights, energy = main_directions(parts, 0.9)
    rows = torch.cat(directions)
    values = torch.linalg.svdvals(parts[0]) ** 2, torch.linalg.svdvals(parts[1]) ** 2
    leading = torch.cat(values).sort(descending=True).values[: len(rows)]
    assert energy == pytest.approx(float(leading.sum() / 12.0), abs=1e-5)
    assert energy >= 0.9 > energy - float(leading[-1] / 12.0)
    assert float(((images @ rows.T) ** 2).sum() / 12.0) == pytest.approx(energy, abs=1e-5)
    assert weights.shape == (12, len(rows))


def test_a_ball_turned_about_needs_few_directions(phantoms: list[Template]) -> None:
    ball, dumbbell = (make_basis(t, even_rotations(15), SHARP, 10.0, energy=0.99) for t in phantoms[:2])
    assert len(ball.volumes) == 1
    assert len(dumbbell.volumes) > 5


def test_a_sphere_holds_what_is_within_its_radius() -> None:
    assert float(sphere(5, 1.0).sum()) == 7.0
    assert float(sphere(5, 1.5).sum()) == 19.0

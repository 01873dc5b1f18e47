from dataclasses import replace

import numpy as np
import pytest
import torch

from picker_training.simulator.microscope import (
    MEAN_FREE_PATH_SLABS,
    Microscope,
    contrast_transfer,
    electron_wavelength,
    form_images,
    image_frequencies,
    low_pass,
    noise_images,
    shot_noise,
)

VOXEL_SIZE = 10.0
NO_ENVELOPE = Microscope(envelope=1e6)
FREQUENCIES = torch.linspace(0.0, 0.05, 2001, dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("kilovolts", "angstrom"), [(300.0, 0.01969), (200.0, 0.02508), (100.0, 0.03701)])
def test_wavelength_of_the_electron(kilovolts: float, angstrom: float) -> None:
    assert electron_wavelength(kilovolts) == pytest.approx(angstrom, abs=1e-5)


def test_contrast_is_positive_up_to_the_first_zero() -> None:
    transfer = contrast_transfer(NO_ENVELOPE, FREQUENCIES, VOXEL_SIZE)
    crossing = FREQUENCIES[int((transfer < 0).nonzero()[0])]
    phase = np.pi - np.arcsin(NO_ENVELOPE.amplitude_contrast)  # where sin(g + asin A) = 0
    wanted = np.sqrt(phase / (np.pi * electron_wavelength(300.0) * 3.0e4))  # 3 um, without the tiny Cs term
    assert float(crossing) == pytest.approx(wanted, rel=2e-3)
    assert float(1 / crossing) == pytest.approx(24.6, abs=0.1)
    assert float(transfer[0]) == pytest.approx(NO_ENVELOPE.amplitude_contrast)


def test_less_defocus_moves_the_first_zero_out() -> None:
    near, far = (
        int((contrast_transfer(replace(NO_ENVELOPE, defocus_um=um), FREQUENCIES, VOXEL_SIZE) < 0).nonzero()[0])
        for um in (2.0, 4.0)
    )
    assert FREQUENCIES[near] == pytest.approx(float(FREQUENCIES[far]) * 2**0.5, rel=0.01)


def test_flipped_phases_leave_no_negative_contrast() -> None:
    plain = contrast_transfer(NO_ENVELOPE, FREQUENCIES, VOXEL_SIZE)
    flipped = contrast_transfer(replace(NO_ENVELOPE, phase_flipped=True), FREQUENCIES, VOXEL_SIZE)
    assert torch.equal(flipped, plain.abs())


def test_the_envelope_falls_to_one_e_th_at_its_share_of_nyquist() -> None:
    soft = replace(NO_ENVELOPE, envelope=0.4)
    at = torch.tensor([0.4 / (2 * VOXEL_SIZE)])
    ratio = contrast_transfer(soft, at, VOXEL_SIZE) / contrast_transfer(NO_ENVELOPE, at, VOXEL_SIZE)
    assert float(ratio) == pytest.approx(np.exp(-1.0), rel=1e-4)


def test_frequencies_reach_nyquist() -> None:
    frequency = image_frequencies(torch.zeros(1, 8, 12), VOXEL_SIZE)
    assert frequency.shape == (8, 7)
    assert float(frequency[0, 0]) == 0.0
    assert float(frequency[0, -1]) == pytest.approx(1 / (2 * VOXEL_SIZE))
    assert float(frequency[4, 0]) == pytest.approx(1 / (2 * VOXEL_SIZE))


@pytest.mark.parametrize("phase_flipped", [False, True])
def test_protein_is_dark_on_brighter_ice(phase_flipped: bool) -> None:
    projection = torch.zeros(1, 48, 48)
    projection[0, 20:28, 20:28] = 1.0
    image = form_images(projection, replace(Microscope(), phase_flipped=phase_flipped), VOXEL_SIZE)[0]
    assert float(image[22:26, 22:26].mean()) < float(image.mean()) - 2 * float(image.std())


@pytest.mark.parametrize("tilt", [0.0, 60.0])
def test_shot_noise_has_the_variance_of_counting(tilt: float) -> None:
    microscope = Microscope(tilts_degree=(tilt,), dose_per_image=200.0)
    images = torch.randn(1, 256, 256, generator=generator())
    noise = shot_noise(images, microscope, generator(1))
    path = 1 / np.cos(np.deg2rad(tilt))
    dose = 200.0 * np.exp((1.0 - path) / MEAN_FREE_PATH_SLABS)
    assert float(noise.var()) == pytest.approx(1 / dose, rel=0.03)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.002)


def test_gaussian_noise_is_the_same_in_all_images() -> None:
    noise = noise_images(torch.zeros(3, 96, 96), Microscope(), VOXEL_SIZE, generator())
    assert noise.var(dim=(1, 2)).numpy() == pytest.approx(np.ones(3), rel=0.05)
    assert torch.equal(noise, noise_images(torch.ones(3, 96, 96), Microscope(), VOXEL_SIZE, generator()))


def test_structural_noise_passes_the_contrast_transfer() -> None:
    images = torch.zeros(1, 128, 128)
    mixed = noise_images(images, Microscope(structural_noise=0.5), VOXEL_SIZE, generator())
    power = torch.fft.rfft2(mixed).abs()[0] ** 2
    frequency = image_frequencies(images, VOXEL_SIZE)
    high = power[frequency > 0.06].mean()  # beyond the envelope: the detector's half alone
    assert float(mixed.var()) == pytest.approx(1.0, rel=0.05)
    assert float(high / power.mean()) == pytest.approx(0.5, rel=0.1)


def test_the_low_pass_is_a_gaussian_and_optional() -> None:
    images = torch.randn(1, 64, 64, generator=generator())
    assert low_pass(images, Microscope(), VOXEL_SIZE) is images
    passed = low_pass(images, Microscope(low_pass_angstrom=40.0), VOXEL_SIZE)
    ratio = torch.fft.rfft2(passed)[0, 0, 16] / torch.fft.rfft2(images)[0, 0, 16]  # 16 / (64 x 10 A) = 1 / 40 A
    assert float(ratio.real) == pytest.approx(np.exp(-1.0), rel=1e-3)

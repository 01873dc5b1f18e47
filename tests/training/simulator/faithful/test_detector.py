from dataclasses import replace

import numpy as np
import pytest
import torch

from picker_training.simulator.faithful.detector import (
    EXPERIMENTAL_AMPLITUDES,
    EXPERIMENTAL_FREQUENCIES,
    EXPERIMENTAL_SCALE,
    detect_2021,
    noise_2020,
    scale_rings,
    shifted,
)
from picker_training.simulator.faithful.optics import Optics
from picker_training.simulator.faithful.parameters import Shrec2020Parameters, Shrec2021Parameters

SIDE, TILTS = 128, 4
CPU = torch.device("cpu")


def generators(count: int = TILTS) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(i) for i in range(count)]


def test_white_noise_has_the_projections_variance_over_the_snr(small_2020: Shrec2020Parameters) -> None:
    p = replace(small_2020, noise_recipe="white")
    optics = Optics(parameters=p, defocus_angstrom=3e4, device=CPU)
    clean = torch.randn((TILTS, SIDE, SIDE), generator=torch.Generator().manual_seed(9)) * 0.1
    noise = noise_2020(clean, p, optics, generators())
    assert float(noise.var()) == pytest.approx(0.01 / 0.004, rel=0.03)
    assert not torch.equal(noise[0], noise[1])


def test_the_predecessor_s_noise_is_near_half_the_nominal_power_and_round(small_2020: Shrec2020Parameters) -> None:
    optics = Optics(parameters=small_2020, defocus_angstrom=3e4, device=CPU)
    clean = torch.randn((TILTS, SIDE, SIDE), generator=torch.Generator().manual_seed(9)) * 0.1
    noise = noise_2020(clean, small_2020, optics, generators())
    k2 = optics.frequency2((SIDE, SIDE), half=True)
    inside = k2.sqrt() * 20.0 <= 1.0 - 2.0 / SIDE
    passed = float((optics.contrast_transfer(k2) / 2.0)[inside].square().mean())
    nominal = 0.01 / 0.004 / passed
    assert float(noise.var()) == pytest.approx(nominal * 0.5 * np.pi / 4, rel=0.08)
    spectrum = torch.fft.rfft2(noise).abs()
    assert float(spectrum[:, ~inside].max()) < 1e-3 * float(spectrum.max())


def test_counts_have_the_noise_of_their_dose(small_2021: Shrec2021Parameters) -> None:
    optics = Optics(parameters=small_2021, defocus_angstrom=3e4, device=CPU)
    clean, noisy = detect_2021(torch.full((SIDE, SIDE), 0.5), 40.0, small_2021, optics, generators(1)[0])
    assert clean.numpy() == pytest.approx(0.0, abs=1e-5)
    power = torch.fft.fft2(noisy - clean, norm="ortho").abs().square()
    k = optics.frequency2((SIDE, SIDE)).sqrt() * 2 * small_2021.sampling_angstrom
    near = power[(k > 0.08) & (k < 0.16)].mean()  # noise over signal is 1 / (DQE x electrons)
    mtf = 0.92 / 0.95
    assert float(near) == pytest.approx(mtf**2 / (0.75 * 20.0), rel=0.15)
    assert float(power[k > 0.9].mean()) < 0.6 * float(near)


def test_rings_get_the_experimental_amplitude_and_keep_their_phases() -> None:
    noisy = torch.randn((SIDE, SIDE), generator=torch.Generator().manual_seed(1))
    clean = 0.1 * torch.roll(noisy, 3, 0)
    scaled_clean, scaled = scale_rings(clean, noisy, 5.0)
    before, after = torch.fft.fft2(noisy, norm="ortho"), torch.fft.fft2(scaled, norm="ortho")
    k = torch.fft.fftfreq(SIDE) * SIDE
    ring = torch.sqrt(k[:, None] ** 2 + k[None, :] ** 2).round()
    for radius in (5, 20, 60):
        expected = np.interp(radius / SIDE / 5.0, EXPERIMENTAL_FREQUENCIES, EXPERIMENTAL_AMPLITUDES)
        assert float(after[ring == radius].abs().mean()) == pytest.approx(EXPERIMENTAL_SCALE * expected, rel=1e-3)
    turned = (after * before.conj())[ring > 0]
    assert float((turned.imag.abs() / turned.abs()).max()) < 1e-2
    gain = after[ring > 0] / before[ring > 0]
    clean_gain = (torch.fft.fft2(scaled_clean, norm="ortho") / torch.fft.fft2(clean, norm="ortho"))[ring > 0]
    assert clean_gain.abs().numpy() == pytest.approx(gain.abs().numpy(), rel=1e-2)


def test_a_shift_moves_an_image() -> None:
    image = torch.zeros((16, 16))
    image[4, 5] = 1.0
    assert torch.argmax(shifted(image, (2.0, -3.0))) == 6 * 16 + 2
    axis = torch.arange(16.0)
    smooth = torch.exp(-((axis[:, None] - 8) ** 2 + (axis[None, :] - 8) ** 2) / 8)
    moved = shifted(smooth, (0.25, 0.0))
    assert float((moved * axis[:, None]).sum() / moved.sum()) == pytest.approx(8.25, abs=1e-2)

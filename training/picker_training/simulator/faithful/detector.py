"""Detector: noise on the images of a tilt series, by the recipes of SHREC 2020 and 2021.

Images are contrast `(t, u, y) float32`, intensity over its mean less 1; protein is dark.
"""

import numpy as np
import torch
from torch import Tensor

from picker_training.simulator.faithful.optics import Optics
from picker_training.simulator.faithful.parameters import Shrec2020Parameters, Shrec2021Parameters

K2_FREQUENCIES = (0.0, 0.03, 0.12, 0.22, 0.5, 0.75, 1.0, 1.5)
K2_MTF = (0.95, 0.94, 0.92, 0.90, 0.76, 0.60, 0.43, 0.20)
K2_DQE = (0.78, 0.77, 0.75, 0.73, 0.60, 0.45, 0.30, 0.10)
"""K2 Summit at 300 kV against the fraction of Nyquist: DQE 0.75 at 0.08 to 0.16 and MTF 0.94 and 0.90 at 0.03 and 0.22
are as the predecessor has them; the rest is a choice that follows the usual fall to Nyquist."""

EXPERIMENTAL_FREQUENCIES = (0.0, 0.003, 0.006, 0.010, 0.015, 0.020, 0.025, 0.030, 0.035, 0.050, 0.100, 0.150)
EXPERIMENTAL_AMPLITUDES = (20.0, 20.0, 11.4, 7.5, 6.4, 5.0, 3.8, 2.8, 2.1, 1.2, 0.6, 0.3)
"""Mean amplitude of an experimental image's spectrum against 1 / A, arbitrary units; stands for that of SHREC 2021.

A choice: the radial power of a slice of a real SHREC 2021 tomogram (0.36 0.47 0.56 0.93 1.00 0.89 0.69 0.43 at 0.03
0.06 0.10 0.15 0.20 0.25 0.30 0.35 cycles a voxel of 10 A) over k^2, which back-projection with a ramp gives white
images; from 0.35 on continued smoothly, since the resampling of that figure lowered it there.
"""

EXPERIMENTAL_SCALE = 32.3
"""Brings the standard deviation of a tomogram's background to the published 0.84 to 0.87, at the full field."""


def noise_2020(clean: Tensor, p: Shrec2020Parameters, optics: Optics, generators: list[torch.Generator]) -> Tensor:
    """Return the detector's noise `(t, u, y)` at the projection SNR for noise-free images of contrast.

    `white`: Gaussian of variance v / SNR, v the mean variance of the noise-free images.
    `predecessor`: v is first divided by the share of power that the contrast transfer passes; then, each of variance
    0.5 / SNR x v, one part is added to the Fourier coefficients behind the contrast transfer (of an unnormalised
    transform, hence it is N times smaller in the image) and one to the image, low-passed; frequencies from N / 2 - 1 on
    are set to 0.
    """
    side = (clean.shape[-2], clean.shape[-1])
    variance = float(clean.var(dim=(1, 2)).mean())
    if p.noise_recipe == "white":
        white: Tensor = _normal(clean, generators) * (variance / p.projection_snr) ** 0.5
        return white
    k2 = optics.frequency2(side, half=True)
    transfer = optics.contrast_transfer(k2) / 2.0
    radius = k2.sqrt() * 2.0 * p.sampling_angstrom
    inside = radius <= 1.0 - 2.0 / side[0]
    deviation = (0.5 / p.projection_snr * variance / float(transfer[inside].square().mean())) ** 0.5
    flank = torch.exp(-(((radius - p.noise_pass_band) / (2.0 * p.noise_roll_off)).clamp(min=0.0) ** 2))
    before_lens = _normal(clean, generators) * (deviation / (side[0] * side[1]) ** 0.5)
    background = _normal(clean, generators) * deviation
    spectrum = torch.fft.rfft2(before_lens) * transfer + torch.fft.rfft2(background) * flank
    noise: Tensor = torch.fft.irfft2(spectrum * inside, s=side)
    return noise


def _normal(images: Tensor, generators: list[torch.Generator]) -> Tensor:
    shape, device = images.shape[1:], images.device
    return torch.stack([torch.randn(shape, generator=generator, device=device) for generator in generators])


def detect_2021(
    intensity: Tensor, electrons: float, p: Shrec2021Parameters, optics: Optics, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return contrast images `(u, y)` without and with detection noise from an intensity over that of the beam.

    electrons: of the beam, a sample. The expected counts are filtered by sqrt(DQE) = MTF / NTF, counted, and the counts
    filtered by NTF (predecessor), so that signal passes by MTF and noise by NTF.
    """
    k2 = optics.frequency2((intensity.shape[0], intensity.shape[1]), half=True)
    nyquist = k2.sqrt() * 2.0 * p.sampling_angstrom
    mtf = interpolate(nyquist, K2_FREQUENCIES, K2_MTF)
    root_dqe = interpolate(nyquist, K2_FREQUENCIES, K2_DQE).sqrt()
    side = intensity.shape
    spectrum = torch.fft.rfft2(intensity * electrons)
    expected = torch.fft.irfft2(spectrum * root_dqe, s=side).clamp(min=0.0)
    counts = torch.poisson(expected, generator=generator)
    clean = torch.fft.irfft2(spectrum * mtf, s=side)
    noisy = torch.fft.irfft2(torch.fft.rfft2(counts) * (mtf / root_dqe), s=side)
    mean = clean.mean()
    return clean / mean - 1.0, noisy / mean - 1.0


def shifted(intensity: Tensor, shift_samples: tuple[float, float]) -> Tensor:
    """Return an image `(u, y)` moved by a fraction of samples, by a phase ramp; it wraps around."""
    ku = torch.fft.fftfreq(intensity.shape[0], device=intensity.device)
    ky = torch.fft.rfftfreq(intensity.shape[1], device=intensity.device)
    phase = -2.0 * np.pi * (ku[:, None] * shift_samples[0] + ky[None, :] * shift_samples[1])
    moved: Tensor = torch.fft.irfft2(
        torch.fft.rfft2(intensity) * torch.polar(torch.ones_like(phase), phase), s=intensity.shape
    )
    return moved


def scale_rings(clean: Tensor, noisy: Tensor, sampling_angstrom: float) -> tuple[Tensor, Tensor]:
    """Give each ring of a noisy image's spectrum the experimental mean amplitude, phases kept.

    The clean one is scaled by the same factors. Rings are one frequency step of the image wide, amplitudes those of an
    orthonormal transform.
    """
    side = noisy.shape
    spectrum = torch.fft.rfft2(noisy, norm="ortho")
    ku, ky = torch.fft.fftfreq(side[0]) * side[0], torch.fft.rfftfreq(side[1]) * side[1]
    ring = torch.sqrt((ku / side[0])[:, None] ** 2 + (ky / side[1])[None, :] ** 2) * side[0]
    number = ring.round().long()
    twice = torch.where((ky > 0) & (ky < side[1] / 2), 2.0, 1.0).expand(number.shape)
    amplitudes = spectrum.abs().cpu() * twice
    sums = torch.bincount(number.flatten(), weights=amplitudes.flatten().double())
    counts = torch.bincount(number.flatten(), weights=twice.flatten().double())
    rings = torch.arange(len(sums), dtype=torch.float32) / (side[0] * sampling_angstrom)
    target = interpolate(rings, EXPERIMENTAL_FREQUENCIES, EXPERIMENTAL_AMPLITUDES) * EXPERIMENTAL_SCALE
    gain = (target / (sums / counts.clamp(min=1.0)).clamp(min=1e-12).float()).to(noisy.device)
    gain[0] = 0.0
    factor = gain[number.to(noisy.device)]
    scaled_clean = torch.fft.irfft2(torch.fft.rfft2(clean, norm="ortho") * factor, s=side, norm="ortho")
    return scaled_clean, torch.fft.irfft2(spectrum * factor, s=side, norm="ortho")


def interpolate(values: Tensor, places: tuple[float, ...], levels: tuple[float, ...]) -> Tensor:
    """Interpolate a table linearly; beyond its ends the last level holds."""
    table = np.interp(values.cpu().numpy(), places, levels).astype(np.float32)
    return torch.from_numpy(table).to(values.device)

"""Microscope: the contrast that a slab's projections get, and the noise of the detector."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Microscope:
    """How a tilt series is taken; defaults are those of SHREC 2020 where it states them.

    tilts_degree: one angle per image, about the y axis.
    envelope: the contrast falls as exp(-(k / (envelope x Nyquist))^2).
    phase_flipped: the sign of the contrast is corrected, as most pipelines do.
    low_pass_angstrom: a Gaussian low-pass of this resolution on the finished images; None for none.
    ramp_cutoff: the weighting of the back-projection stops at this fraction of Nyquist.
    dose_per_image: electrons per voxel-sized pixel and image; None for Gaussian noise that is equal in all images.
    structural_noise: share of the noise's variance that passes the contrast transfer, as that of ice does.
    """

    tilts_degree: tuple[float, ...] = tuple(np.linspace(-60.0, 60.0, 40).tolist())
    defocus_um: float = 3.0
    voltage_kv: float = 300.0
    spherical_aberration_mm: float = 2.7
    amplitude_contrast: float = 0.08
    envelope: float = 0.4
    phase_flipped: bool = False
    low_pass_angstrom: float | None = None
    ramp_cutoff: float = 1.0
    dose_per_image: float | None = None
    structural_noise: float = 0.0


def electron_wavelength(voltage_kv: float) -> float:
    """Return the relativistic wavelength in angstrom: h / sqrt(2 m e V (1 + e V / 2 m c^2))."""
    volts = voltage_kv * 1000.0
    return float(12.2643 / np.sqrt(volts * (1.0 + 0.978466e-6 * volts)))


def contrast_transfer(microscope: Microscope, frequency: Tensor, voxel_size: float) -> Tensor:
    """Return the contrast transfer at spatial frequencies in 1 / angstrom; positive at low ones (underfocus).

    sqrt(1 - A^2) sin(g) + A cos(g), g = pi lambda defocus k^2 - pi / 2 Cs lambda^3 k^4.
    """
    wavelength = electron_wavelength(microscope.voltage_kv)
    k2 = frequency**2
    phase = np.pi * wavelength * microscope.defocus_um * 1e4 * k2
    phase = phase - np.pi / 2.0 * microscope.spherical_aberration_mm * 1e7 * wavelength**3 * k2**2
    amplitude = microscope.amplitude_contrast
    transfer: Tensor = (1.0 - amplitude**2) ** 0.5 * torch.sin(phase) + amplitude * torch.cos(phase)
    if microscope.phase_flipped:
        transfer = transfer.abs()
    return transfer * torch.exp(-k2 / (microscope.envelope / (2.0 * voxel_size)) ** 2)


def image_frequencies(images: Tensor, voxel_size: float) -> Tensor:
    """Return |k| in 1 / angstrom for the half spectra `(h, w // 2 + 1)` of real images `(t, h, w)`."""
    height, width = images.shape[-2:]
    device = images.device
    ky = torch.fft.fftfreq(height, voxel_size, device=device)
    kx = torch.fft.rfftfreq(width, voxel_size, device=device)
    return torch.sqrt(ky[:, None] ** 2 + kx[None, :] ** 2)


def filter_images(images: Tensor, transfer: Tensor) -> Tensor:
    """Multiply the spectrum of images `(t, h, w)` by a real transfer `(h, w // 2 + 1)`."""
    filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(images) * transfer, s=images.shape[-2:])
    return filtered


def form_images(projections: Tensor, microscope: Microscope, voxel_size: float) -> Tensor:
    """Turn projected density `(t, h, w)` into contrast: weak-phase images in which protein is dark."""
    frequency = image_frequencies(projections, voxel_size)
    return -filter_images(projections, contrast_transfer(microscope, frequency, voxel_size))


def noise_images(images: Tensor, microscope: Microscope, voxel_size: float, generator: torch.Generator) -> Tensor:
    """Return noise for contrast images `(t, h, w)`, with structural noise mixed in; its overall scale means nothing."""
    if microscope.dose_per_image is None:
        detector = torch.randn(images.shape, generator=generator, device=images.device)
    else:
        detector = shot_noise(images, microscope, generator)
    if microscope.structural_noise == 0.0:
        return detector
    frequency = image_frequencies(images, voxel_size)
    ice = torch.randn(images.shape, generator=generator, device=images.device)
    ice = filter_images(ice, contrast_transfer(microscope, frequency, voxel_size))
    share = microscope.structural_noise
    mixed: Tensor = (1.0 - share) ** 0.5 * detector / detector.std() + share**0.5 * ice / ice.std()
    return mixed


CONTRAST_DEVIATION = 0.03
"""Standard deviation of the contrast that a crowded slab gives at 10 A, relative to the mean count."""

MEAN_FREE_PATH_SLABS = 2.0
"""Inelastic mean free path of ice at 300 kV (about 3,000 to 4,000 A) over the thickness of a common lamella or film."""


def shot_noise(images: Tensor, microscope: Microscope, generator: torch.Generator) -> Tensor:
    """Return Poisson noise relative to the expected count; tilted images lose electrons as exp(-1 / cos)."""
    tilts = torch.tensor(microscope.tilts_degree, device=images.device)
    path = 1.0 / torch.cos(torch.deg2rad(tilts))
    dose = float(microscope.dose_per_image or 0.0) * torch.exp((1.0 - path) / MEAN_FREE_PATH_SLABS)
    contrast = images * (CONTRAST_DEVIATION / images.std())
    expected = dose[:, None, None] * (1.0 + contrast).clamp(min=0.05)
    return (torch.poisson(expected, generator=generator) - expected) / dose[:, None, None]


def low_pass(images: Tensor, microscope: Microscope, voxel_size: float) -> Tensor:
    """Apply the microscope's low-pass to finished images; without one they pass unchanged."""
    if microscope.low_pass_angstrom is None:
        return images
    frequency = image_frequencies(images, voxel_size)
    return filter_images(images, torch.exp(-((frequency * microscope.low_pass_angstrom) ** 2)))

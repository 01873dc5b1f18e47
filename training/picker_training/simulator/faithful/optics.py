"""Optics: what the lenses do to a wave. Images are `(u, y)`; frequencies are in 1 / angstrom."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from picker_training.simulator.faithful.parameters import Shrec2020Parameters, Shrec2021Parameters, ShrecParameters
from picker_training.simulator.microscope import electron_wavelength

ELECTRON_REST_EV = 510_999.0


@dataclass(frozen=True, kw_only=True)
class Optics:
    """The lenses of one tomogram: its parameters and the defocus that was drawn for it, in angstrom."""

    parameters: ShrecParameters
    defocus_angstrom: float
    device: torch.device

    @property
    def wavelength(self) -> float:
        """In angstrom."""
        return electron_wavelength(self.parameters.voltage_kv)

    def frequency2(self, shape: tuple[int, int], *, half: bool = False) -> Tensor:
        """Return k^2 for spectra of images of a shape; `half` for those of real images."""
        step = self.parameters.sampling_angstrom
        ku = torch.fft.fftfreq(shape[0], step, device=self.device)
        ky = (torch.fft.rfftfreq if half else torch.fft.fftfreq)(shape[1], step, device=self.device)
        squared: Tensor = ku[:, None].square() + ky[None, :].square()
        return squared

    def propagator(self, shape: tuple[int, int], distance_angstrom: float) -> Tensor:
        """Return the Fresnel propagator exp(-i pi lambda distance k^2)."""
        phase = -np.pi * self.wavelength * distance_angstrom * self.frequency2(shape)
        return torch.polar(torch.ones_like(phase), phase)

    def aberration(self, k2: Tensor) -> Tensor:
        """Return pi lambda defocus k^2 - pi / 2 Cs lambda^3 k^4."""
        cs = self.parameters.spherical_aberration_mm * 1e7
        return np.pi * self.wavelength * self.defocus_angstrom * k2 - np.pi / 2 * cs * self.wavelength**3 * k2**2

    def wave_transfer(self, shape: tuple[int, int]) -> Tensor:
        """Return what a wave's spectrum is multiplied by: aberration, envelope, aperture."""
        k2 = self.frequency2(shape)
        return torch.polar(self.envelope(k2), self.aberration(k2))

    def contrast_transfer(self, k2: Tensor) -> Tensor:
        """Return the contrast of an image over the phase that a weak object adds: 2 (sin + ratio x cos) x envelope.

        The sign is left out: positive phase, as of protein, makes dark images.
        """
        aberration = self.aberration(k2)
        ratio = self.parameters.absorption_ratio
        return 2.0 * (torch.sin(aberration) + ratio * torch.cos(aberration)) * self.envelope(k2)

    def envelope(self, k2: Tensor) -> Tensor:
        """Return by how much the waves decay."""
        p = self.parameters
        if isinstance(p, Shrec2020Parameters):
            return torch.exp(-k2 / (p.envelope / (2.0 * p.sampling_angstrom)) ** 2)
        if isinstance(p, Shrec2021Parameters):
            return self._coherence(p, k2) * (k2.sqrt() <= self._aperture(p))
        return torch.ones_like(k2)

    def _aperture(self, p: Shrec2021Parameters) -> float:
        return p.objective_diameter_um * 1e-3 / 2.0 / p.focal_distance_mm / self.wavelength

    def _coherence(self, p: Shrec2021Parameters, k2: Tensor) -> Tensor:
        """Return temporal times spatial coherence.

        exp(-(pi lambda H k^2)^2 / (16 ln 2)) x exp(-(pi a (defocus k - Cs lambda^2 k^3))^2 / ln 2), with
        H = Cc x energy spread (full width) x relativistic factor / energy (Vulovic et al. 2013, equations 21 and 22).
        """
        volts = p.voltage_kv * 1e3
        factor = (1.0 + volts / ELECTRON_REST_EV) / (1.0 + volts / (2.0 * ELECTRON_REST_EV))
        spread = p.chromatic_aberration_mm * 1e7 * p.energy_spread_ev / volts * factor
        temporal = (np.pi * self.wavelength * spread * k2) ** 2 / (16.0 * np.log(2.0))
        k = k2.sqrt()
        slope = self.defocus_angstrom * k - p.spherical_aberration_mm * 1e7 * self.wavelength**2 * k2 * k
        spatial = (np.pi * p.illumination_aperture_mrad * 1e-3 * slope) ** 2 / np.log(2.0)
        return torch.exp(-temporal - spatial)

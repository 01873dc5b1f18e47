"""Imaging: a tilt series of a slab, from potential to finished images on the tomogram's grid."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from picker_training.simulator.faithful.detector import detect_2021, noise_2020, scale_rings, shifted
from picker_training.simulator.faithful.multislice import Noise, intensities
from picker_training.simulator.faithful.optics import Optics
from picker_training.simulator.faithful.parameters import Shrec2020Parameters, Shrec2021Parameters, ShrecParameters
from picker_training.simulator.faithful.tilting import Slice, TiltedSlab
from picker_training.simulator.reconstruction import TiltGeometry

Report = Callable[[str], None]
STRUCTURE, DETECTION = 0, 1
"""Streams of random numbers; each image has one of its own in each."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """A tilt series in parts, `(t, y, u) float32`, samples of the tomogram's voxels.

    clean: without noise but the ice's. structure: what beam damage adds. detection: what the detector adds.
    """

    clean: Tensor
    structure: Tensor
    detection: Tensor


class Imager(Protocol):
    """Makes the intensities of one image: `(1, u, y)`, or `(2, u, y)` with beam damage in the second."""

    def image(self, tilt_degree: float, generator: torch.Generator) -> Tensor:
        """Return the intensities at a tilt."""


@dataclass(frozen=True, kw_only=True)
class MultisliceImager:
    """The faithful way: waves through every slice."""

    slab: TiltedSlab
    optics: Optics

    def image(self, tilt_degree: float, generator: torch.Generator) -> Tensor:
        """Return the intensities at a tilt."""
        p = self.optics.parameters
        shape = (p.wave_side, p.wave_side)
        behind = 0.5 * self.slab.slice_count(tilt_degree) * p.slice_angstrom
        return intensities(
            self.slab.slices(tilt_degree), behind, shape, self.optics, structural_noise(self.optics, generator)
        )


def structural_noise(optics: Optics, generator: torch.Generator) -> Noise | None:
    """Return what draws beam damage, independent noise in every sample of the slab; None where there is none.

    Its sum over a path has a deviation of sigma x sqrt(path).
    """
    p = optics.parameters
    sigma = p.structural_noise_volt if isinstance(p, Shrec2020Parameters) else 0.0

    def draw(part: Slice) -> Tensor:
        noise = torch.zeros_like(part.projected)
        rows = torch.nonzero(part.path).flatten()
        if len(rows):
            low, high = int(rows[0]), int(rows[-1]) + 1
            values = torch.randn((high - low, noise.shape[1]), generator=generator, device=optics.device)
            noise[low:high] = values * (sigma * part.path[low:high, None].sqrt())
        return noise

    return draw if sigma > 0.0 else None


def take_series(p: ShrecParameters, imager: Imager, optics: Optics, seed: int, dose: float, report: Report) -> Series:
    """Take, detect and bin the images of a series; `dose` in electrons per square angstrom, for all of it."""
    detection = [_generator(seed, DETECTION, i, optics.device) for i in range(len(p.tilts_degree))]
    shifts = np.random.default_rng((seed, 2)).uniform(-0.5, 0.5, (len(p.tilts_degree), 2))
    images = []
    for i, tilt in enumerate(p.tilts_degree):
        seen = imager.image(tilt, _generator(seed, STRUCTURE, i, optics.device))
        if isinstance(p, Shrec2021Parameters):
            electrons = dose / len(p.tilts_degree) * p.sampling_angstrom**2
            parts = _detected_2021(seen[0], shifts[i] * p.shift_angstrom, electrons, p, optics, detection[i])
        else:
            fields = [_contrast(_field(image, p)) for image in seen]
            parts = torch.stack([fields[0], fields[-1] - fields[0], torch.zeros_like(fields[0])])
        images.append(_binned(parts, p.binning))
        report(f"image {i + 1} of {len(p.tilts_degree)}")
    clean, structure, detected = torch.stack(images, dim=1)
    if isinstance(p, Shrec2020Parameters):
        detected = noise_2020(clean, p, optics, detection)
    return Series(clean=clean.mT, structure=structure.mT, detection=detected.mT)


def reconstruct(images: Sequence[Tensor], p: ShrecParameters) -> list[Tensor]:
    """Return the weighted back-projections `(d, h, w)` of series `(t, y, u)`: a ramp across the tilt axis, then back.

    The ramp goes over the field's side as it is, without padding (choice); what no image saw adds nothing.
    """
    depth, height, width = p.shape
    stacked = torch.cat(tuple(images), dim=1)
    geometry = TiltGeometry((depth, len(images) * height, width), p.tilts_degree, stacked.device)
    ramp = torch.fft.rfftfreq(width, device=stacked.device)
    weighted = torch.fft.irfft(torch.fft.rfft(stacked) * ramp, n=width)
    beside = (geometry.width - width) // 2
    volume = geometry.backproject(functional.pad(weighted, (beside, beside))) / len(p.tilts_degree)
    return [volume[:, i * height : (i + 1) * height] for i in range(len(images))]


def _detected_2021(
    intensity: Tensor,
    shift_angstrom: NDArray[np.float64],
    electrons: float,
    p: Shrec2021Parameters,
    optics: Optics,
    generator: torch.Generator,
) -> Tensor:
    """Return an image in the parts of a series, `(3, u, y)`."""
    move = shift_angstrom / p.sampling_angstrom
    field = _field(shifted(intensity, (float(move[0]), float(move[1]))), p)
    clean, noisy = detect_2021(field, electrons, p, optics, generator)
    if p.scaled_to_experiment:
        clean, noisy = scale_rings(clean, noisy, p.sampling_angstrom)
    return torch.stack([clean, torch.zeros_like(clean), noisy - clean])


def _contrast(intensity: Tensor) -> Tensor:
    return intensity / intensity.mean() - 1.0


def _field(image: Tensor, p: ShrecParameters) -> Tensor:
    """Cut the margin off a computed image."""
    m = p.margin * p.binning
    return image[m : image.shape[0] - m, m : image.shape[1] - m].contiguous()


def _binned(images: Tensor, binning: int) -> Tensor:
    """Average blocks; the middle of a block is the new sample's place, so nothing moves."""
    return functional.avg_pool2d(images, binning) if binning > 1 else images


def _generator(seed: int, stream: int, number: int, device: torch.device) -> torch.Generator:
    state = np.random.SeedSequence((seed, stream, number)).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state) >> 1)

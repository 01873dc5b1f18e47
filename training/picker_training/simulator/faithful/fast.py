"""Fast mode: each particle's own box projected and added, and the slab taken for one thin phase grating.

It neglects what happens between slices (the defocus that changes along the beam, the spread of waves before they are
scattered again) and the ice's fixed noise. Projections are central slices of the templates' spectra: a plane each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from picker_training.simulator.faithful.imaging import structural_noise
from picker_training.simulator.faithful.multislice import intensities
from picker_training.simulator.faithful.optics import Optics
from picker_training.simulator.faithful.parameters import Shrec2021Parameters
from picker_training.simulator.faithful.population import GOLD, Population, draw_extra
from picker_training.simulator.faithful.tilting import Slice
from picker_training.simulator.specimen import FRINGE_ANGSTROM
from picker_training.simulator.templates import GRID_ANGSTROM, Template

EXTRA_GRID_ANGSTROM = 10.0
PROJECT_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Copies of one map in the slab.

    spectrum: `(1, 2, n, n, n) float32`, real and imaginary part, frequency 0 at n // 2, potential x A^3.
    extent_angstrom: n samples of the padded map. box: even side of a projection, samples of the image.
    positions: `(k, 3) float32, zyx`, samples from the slab's middle. rotations: `(k, 3, 3) float32`.
    """

    spectrum: Tensor
    extent_angstrom: float
    box: int
    positions: Tensor
    rotations: Tensor


class ProjectingImager:
    """Makes images of a population without its slab."""

    def __init__(self, optics: Optics, templates: Sequence[Template], population: Population) -> None:
        self._optics = optics
        self._p = optics.parameters
        self._block_variance = (
            self._p.sampling_angstrom**2 - self._p.drawing_angstrom**2
        ) / 12.0  # A^2, of block means
        self._kinds = [*self._particles(templates, population), *self._extras(population)]

    def image(self, tilt_degree: float, generator: torch.Generator) -> Tensor:
        """Return the intensities `(1, u, y)` at a tilt, or `(2, u, y)`, with beam damage in the second."""
        p, optics = self._p, self._optics
        path = p.slab_shape[0] / np.cos(np.deg2rad(tilt_degree))
        side = p.wave_side
        part = Slice(projected=self.project(tilt_degree), path=torch.full((side,), path, device=optics.device))
        return intensities([part], p.slice_angstrom, (side, side), optics, structural_noise(optics, generator))

    def project(self, tilt_degree: float) -> Tensor:
        """Return the potential summed along the beam, `(u, y) float32`, in sums over samples."""
        side = self._p.wave_side
        image = torch.zeros((side, side), device=self._optics.device)
        for kind in self._kinds:
            for start in range(0, len(kind.positions), PROJECT_BATCH):
                part = slice(start, start + PROJECT_BATCH)
                self._add(image, kind, kind.positions[part], kind.rotations[part], np.deg2rad(tilt_degree))
        return image

    def _add(self, image: Tensor, kind: Kind, positions: Tensor, rotations: Tensor, tilt: float) -> None:
        """Project some copies, with their repetitions across the tilt axis, and add what falls into the image."""
        side, b = image.shape[0], kind.box
        repeats = torch.tensor([-1.0, 0.0, 1.0], device=image.device) * self._p.slab_shape[2]
        x = positions[:, 2:] + repeats  # (k, 3)
        u = x * np.cos(tilt) + positions[:, :1] * np.sin(tilt) + (side - 1) / 2
        copy, repeat = torch.nonzero((u > -b / 2) & (u < side - 1 + b / 2), as_tuple=True)
        if not len(copy):
            return
        centres = torch.stack([u[copy, repeat], positions[copy, 1] + (side - 1) / 2], dim=1)
        low = centres.round().long() - b // 2
        boxes = self._boxes(kind, rotations[copy], centres - low, tilt)
        offsets = torch.arange(b, device=image.device)
        rows, columns = low[:, :1] + offsets, (low[:, 1:] + offsets) % side
        seen = ((rows >= 0) & (rows < side))[:, :, None].expand(boxes.shape)
        index = rows.clamp(0, side - 1)[:, :, None] * side + columns[:, None, :]
        image.view(-1).index_put_((index[seen],), boxes[seen], accumulate=True)

    def _boxes(self, kind: Kind, rotations: Tensor, centres: Tensor, tilt: float) -> Tensor:
        """Return projections `(k, b, b)` of copies, their centres at `centres` of each box."""
        step, b = self._p.sampling_angstrom, kind.box
        ku = torch.fft.fftfreq(b, device=rotations.device)
        ky = torch.fft.rfftfreq(b, device=rotations.device)
        k = torch.stack(torch.meshgrid(ku, ky, indexing="ij"), dim=-1).reshape(-1, 2)  # (m, 2) cycles a sample
        across = torch.tensor([np.sin(tilt), 0.0, np.cos(tilt)], dtype=torch.float32, device=rotations.device)
        along = torch.tensor([0.0, 1.0, 0.0], device=rotations.device)
        frequency = (k[:, :1] * across + k[:, 1:] * along) / step @ rotations  # (k, m, 3) zyx, 1 / A, map's axes
        n = kind.spectrum.shape[-1]
        index = frequency * kind.extent_angstrom + n // 2
        places = (index / (n - 1) * 2.0 - 1.0).flip(-1).reshape(len(rotations), 1, 1, -1, 3)
        sampled = functional.grid_sample(
            kind.spectrum.expand(len(rotations), -1, -1, -1, -1), places, align_corners=True
        )
        phase = -2.0 * np.pi * (centres @ k.T)
        blur = torch.exp(-2.0 * np.pi**2 * self._block_variance * (k / step).square().sum(dim=1))
        spectrum = (
            blur * torch.complex(sampled[:, 0, 0, 0], sampled[:, 1, 0, 0]) * torch.polar(torch.ones_like(phase), phase)
        )
        boxes: Tensor = torch.fft.irfft2(spectrum.reshape(len(rotations), b, b // 2 + 1), s=(b, b)) / step**3
        return boxes

    def _particles(self, templates: Sequence[Template], population: Population) -> list[Kind]:
        kinds = []
        for class_id, template in enumerate(templates):
            positions, rotations = [], []
            for placed in (population.inside, population.around):
                members = placed.class_ids == class_id
                positions.append(placed.positions[members])
                rotations.append(placed.rotations[members])
            density = template.density * np.float32(self._p.contrast_volt_per_density)
            reach = template.radius_angstrom + FRINGE_ANGSTROM
            kinds.append(
                self._kind(density, GRID_ANGSTROM, reach, np.concatenate(positions), np.concatenate(rotations))
            )
        return kinds

    def _extras(self, population: Population) -> list[Kind]:
        if not isinstance(self._p, Shrec2021Parameters):
            return []
        kinds = []
        for extra in population.extras:
            volt = self._p.gold_volt if extra.name == GOLD else self._p.membrane_volt
            grid = GRID_ANGSTROM if extra.name == GOLD else EXTRA_GRID_ANGSTROM
            density, _ = draw_extra(extra.name, extra.diameter_angstrom, extra.stretch, grid)
            half = max(density.shape) // 2
            cube = np.pad(density * np.float32(volt), [(half - n // 2, half - n // 2) for n in density.shape])
            kinds.append(self._kind(cube, grid, half * grid, extra.position[None], np.eye(3)[None]))
        return kinds

    def _kind(
        self,
        density: NDArray[np.float32],
        grid: float,
        reach_angstrom: float,
        positions: NDArray[np.float64],
        rotations: NDArray[np.float64],
    ) -> Kind:
        p, device = self._p, self._optics.device
        spectrum, extent = _spectrum(density, grid)
        middle = np.array([(n - 1) / 2 for n in p.shape])
        from_middle = (positions - middle) * p.binning
        return Kind(
            spectrum=spectrum.to(device),
            extent_angstrom=extent,
            box=2 * (int(np.ceil(reach_angstrom / p.sampling_angstrom)) + 2),
            positions=torch.from_numpy(from_middle).float().to(device),
            rotations=torch.from_numpy(rotations).float().to(device),
        )


def _spectrum(density: NDArray[np.float32], grid: float) -> tuple[Tensor, float]:
    """Return a map's spectrum for reading between its samples, and the padded map's extent in angstrom.

    The map is padded to twice its side and divided by sinc^2, which linear reading of the spectrum multiplies it by.
    """
    n = density.shape[0]
    side = 2 * n + n % 2 * 2
    low = side // 2 - n // 2
    padded = np.zeros((side,) * 3, np.float32)
    padded[(slice(low, low + n),) * 3] = density
    window = np.sinc((np.arange(side) - side // 2) / side) ** 2
    padded /= (window[:, None, None] * window[None, :, None] * window[None, None, :]).astype(np.float32)
    transform = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(torch.from_numpy(padded)))) * grid**3
    return torch.stack([transform.real, transform.imag])[None].contiguous(), side * grid

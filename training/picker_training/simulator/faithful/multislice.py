"""Multislice: a plane wave through the slices of a slab, and the intensity that the lenses make of it."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from picker_training.simulator.faithful.materials import interaction_constant
from picker_training.simulator.faithful.optics import Optics
from picker_training.simulator.faithful.tilting import Slice

Noise = Callable[[Slice], Tensor]
"""Returns what beam damage adds to a slice's projected potential, `(u, y)`, in sums over samples."""


def intensities(
    slices: Iterable[Slice], behind_angstrom: float, shape: tuple[int, int], optics: Optics, noise: Noise | None = None
) -> Tensor:
    """Return the intensities `(1, u, y)` of an image for a beam of 1; with `noise`, `(2, u, y)`: without and with it.

    Each slice is a phase grating exp(i sigma V), V complex, followed by Fresnel propagation (Kirkland 2010, chapter 6);
    the defocus counts from the plane that lies `behind_angstrom` before the exit of the last slice.
    """
    p = optics.parameters
    waves = torch.ones((1 if noise is None else 2, *shape), dtype=torch.complex64, device=optics.device)
    propagator = optics.propagator(shape, p.slice_angstrom)
    for part in slices:
        object_potential = part.projected[None]
        if noise is not None:
            object_potential = torch.stack([part.projected, part.projected + noise(part)])
        waves = torch.fft.ifft2(torch.fft.fft2(waves * _transmission(object_potential, part.path, optics)) * propagator)
    back = optics.propagator(shape, -behind_angstrom)
    waves = torch.fft.ifft2(torch.fft.fft2(waves) * (back * optics.wave_transfer(shape)))
    intensity: Tensor = waves.real.square() + waves.imag.square()
    return intensity


def _transmission(object_potential: Tensor, path: Tensor, optics: Optics) -> Tensor:
    """Return exp(i sigma (V + i V_ab)) for sums over samples, the ice included."""
    p = optics.parameters
    scale = interaction_constant(p.voltage_kv) * p.sampling_angstrom
    ice = path[None, :, None]
    phase = scale * (object_potential + p.ice_volt * ice)
    absorption = scale * (p.absorption_ratio * object_potential + p.ice_absorption_volt * ice)
    return torch.polar(torch.exp(-absorption), phase)

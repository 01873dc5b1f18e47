"""Optics: how a reconstruction shows one point of density, from which every template follows."""

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from picker_training.simulator.microscope import Microscope, form_images, low_pass
from picker_training.simulator.reconstruction import TiltGeometry

SIDES = 4
"""Width of the volume in which the point is seen, over that of its image: copies beyond the sides stay out of it."""

COLUMNS = 16
"""Places along x whose images are averaged: each shows traces of how it lies between the tilted images' columns."""


def point_spread(microscope: Microscope, voxel_size: float, reach: int) -> Tensor:
    """Return what a reconstruction makes of a point of density 1: contrast transfer, envelope, ramp and missing wedge.

    `(2 reach + 1,) * 3 float32, zyx`, the point at the centre. The point goes through the simulator's own projection,
    contrast transfer and back-projection; away from the slab's faces these treat every point alike but for
    interpolation, over which the mean is taken: of points on both sides of the tilt axis.
    """
    edge = 2 * reach + 1
    width = SIDES * edge
    geometry = TiltGeometry((edge, edge, width), microscope.tilts_degree, torch.device("cpu"))
    spread = torch.zeros(edge, edge, edge)
    for column in range((width - COLUMNS) // 2, (width + COLUMNS) // 2):
        volume = torch.zeros(edge, edge, width)
        volume[reach, reach, column] = 1.0
        images = form_images(geometry.project(volume), microscope, voxel_size)
        seen = geometry.reconstruct(low_pass(images, microscope, voxel_size), microscope.ramp_cutoff)
        spread += seen[:, :, column - reach : column + reach + 1]
    return spread / COLUMNS


def convolve(maps: Tensor, spread: Tensor) -> Tensor:
    """Convolve small cubes `(n, b, b, b)` with a spread that reaches b - 1 voxels; returns `(n, b, b, b)`.

    By FFT with a period of at least the spread's edge, so that nothing inside the cubes wraps around.
    """
    edge, width = maps.shape[-1], spread.shape[-1]
    period = next_fast_len(width, real=True)
    kernel = torch.zeros((period,) * 3)
    kernel[:width, :width, :width] = spread
    kernel = torch.roll(kernel, (-(width // 2),) * 3, dims=(0, 1, 2))
    size = (period,) * 3
    spectra = torch.fft.rfftn(maps, s=size, dim=(1, 2, 3)) * torch.fft.rfftn(kernel)
    convolved: Tensor = torch.fft.irfftn(spectra, s=size, dim=(1, 2, 3))
    return convolved[:, :edge, :edge, :edge]

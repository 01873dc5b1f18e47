"""Blob detection: each class is nothing but its size; a known weak baseline."""

import math
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from picker_training.baselines.peaks import Peaks, find_peaks
from picker_training.baselines.template_matching import PEAKS_PER_MEGAVOXEL

DOG_RATIO = 1.6
"""Ratio of the two widths at which a difference of Gaussians is nearest to a Laplacian (Marr and Hildreth, 1980)."""

DOG_WIDTH = float((2.0 * np.log(DOG_RATIO) / (1.0 - DOG_RATIO**-2)) ** -0.5)
"""Narrow width over that of the Laplacian whose sign changes at the same distance: 3 ln k = r^2 (1 - k^-2) / 2 s^2."""


class BlobFilter(StrEnum):
    """Laplacian of a Gaussian, or difference of two Gaussians."""

    LOG = "log"
    DOG = "dog"


def find_blobs(
    tomogram: NDArray[np.float32], diameters_angstrom: Sequence[float], voxel_size: float, kind: BlobFilter
) -> list[list[Peaks]]:
    """Return the peaks of dark blobs at the scale of every class, in the form of `match_templates` for one tomogram.

    tomogram: `(d, h, w) float32, zyx`. Outside it is reflected.
    """
    most = max(1, round(PEAKS_PER_MEGAVOXEL * tomogram.size / 1e6))
    widths = [matched_width(diameter) / voxel_size for diameter in diameters_angstrom]
    return [[find_peaks(torch.from_numpy(blob_response(tomogram, width, kind)), most=most) for width in widths]]


def matched_width(diameter: float) -> float:
    """Return the Gaussian width at which a ball's Laplacian is highest, sqrt(3) times smaller than its radius.

    At the centre of a ball of radius r it is, up to a factor, r^3 / sigma^5 exp(-r^2 / 2 sigma^2), times sigma^2.
    """
    return diameter / math.sqrt(12.0)


def blob_response(tomogram: NDArray[np.float32], width: float, kind: BlobFilter) -> NDArray[np.float32]:
    """Return how much darker each voxel's neighbourhood is than what lies around it, at a width in voxels.

    Scale-normalised: sigma^2 times the Laplacian, or the difference of Gaussians over its ratio less 1.
    """
    if kind is BlobFilter.LOG:
        response: NDArray[np.float32] = width**2 * ndimage.gaussian_laplace(tomogram, width)
        return response
    narrow = ndimage.gaussian_filter(tomogram, DOG_WIDTH * width)
    wide = ndimage.gaussian_filter(tomogram, DOG_RATIO * DOG_WIDTH * width)
    return (wide - narrow) / np.float32(DOG_RATIO - 1.0)

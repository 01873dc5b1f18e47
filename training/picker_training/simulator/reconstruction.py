"""Reconstruction: projection of a slab at each tilt, and weighted back-projection.

Both are one sparse matrix per tilt acting on the (z, x) plane; the tilt axis is y, so rows along y ride along.
The material goes on beyond the sides of the slab (x wraps around), as ice does beyond a field of view.
"""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from picker_runtime.geometry import Triple

IMAGE_MARGIN = 16
"""Columns beyond what back-projection reads, so that filtering at the images' edges does no harm."""


class TiltGeometry:
    """Projects and back-projects slabs of one shape; images are `(tilts, height, width)`, height along y."""

    def __init__(self, shape: Triple, tilts_degree: tuple[float, ...], device: torch.device) -> None:
        self.shape = shape
        self.tilts = np.deg2rad(np.asarray(tilts_degree))
        self.device = device
        depth, _, breadth = shape
        reach = np.max(breadth / 2 * np.cos(self.tilts) + depth / 2 * np.abs(np.sin(self.tilts)))
        self.width = 2 * (int(np.ceil(reach)) + IMAGE_MARGIN)

    def project(self, volume: Tensor) -> Tensor:
        """Return line integrals (in voxels) of a volume `(d, h, w)` at every tilt."""
        depth, height, breadth = self.shape
        plane = volume.to(self.device).permute(0, 2, 1).reshape(depth * breadth, height).contiguous()
        images = [self._projector(tilt) @ plane for tilt in self.tilts]  # each (width, height)
        return torch.stack(images).permute(0, 2, 1).contiguous()

    def backproject(self, images: Tensor) -> Tensor:
        """Return the sum of the images smeared back along their directions, `(d, h, w)`."""
        depth, height, breadth = self.shape
        columns = images.permute(0, 2, 1).reshape(len(self.tilts) * self.width, height).contiguous()
        plane = self._backprojector() @ columns
        return plane.reshape(depth, breadth, height).permute(0, 2, 1).contiguous()

    def reconstruct(self, images: Tensor, ramp_cutoff: float) -> Tensor:
        """Weighted back-projection: a ramp along x up to a fraction of Nyquist, then back-projection."""
        frequency = torch.fft.rfftfreq(self.width, device=images.device)
        ramp = torch.where(frequency <= 0.5 * ramp_cutoff, frequency, torch.zeros_like(frequency))
        weighted = torch.fft.irfft(torch.fft.rfft(images) * ramp, n=self.width)
        return self.backproject(weighted) / len(self.tilts)

    def _projector(self, tilt: float) -> Tensor:
        """Ray-driven: each image column sums, in every z plane, the two voxels that its ray passes between."""
        depth, _, breadth = self.shape
        u = np.arange(self.width) - (self.width - 1) / 2
        z = np.arange(depth) - (depth - 1) / 2
        x = (u[:, None] - z[None, :] * np.sin(tilt)) / np.cos(tilt) + (breadth - 1) / 2  # (width, depth)
        left = np.floor(x).astype(np.int64)
        right_weight = x - left
        planes = np.arange(depth)[None, :] * breadth
        columns = np.stack([planes + left % breadth, planes + (left + 1) % breadth], axis=-1)
        weights = np.stack([1.0 - right_weight, right_weight], axis=-1) / np.cos(tilt)
        return self._sparse(columns, weights, depth * breadth)

    def _backprojector(self) -> Tensor:
        """Voxel-driven: each voxel reads, in every image, the two columns that it lies between."""
        depth, _, breadth = self.shape
        z = (np.arange(depth) - (depth - 1) / 2)[:, None, None]
        x = (np.arange(breadth) - (breadth - 1) / 2)[None, :, None]
        u = x * np.cos(self.tilts) + z * np.sin(self.tilts) + (self.width - 1) / 2  # (depth, breadth, tilts)
        left = np.floor(u).astype(np.int64)
        right_weight = u - left
        starts = np.arange(len(self.tilts)) * self.width
        columns = np.stack([starts + left, starts + left + 1], axis=-1)
        weights = np.stack([1.0 - right_weight, right_weight], axis=-1)
        rows = depth * breadth
        return self._sparse(columns.reshape(rows, -1), weights.reshape(rows, -1), len(self.tilts) * self.width)

    def _sparse(self, columns: NDArray[np.int64], weights: NDArray[np.float64], width: int) -> Tensor:
        rows = columns.shape[0]
        per_row = columns[0].size
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # sparse CSR is announced as beta
            return torch.sparse_csr_tensor(
                torch.arange(0, (rows + 1) * per_row, per_row, dtype=torch.int32),
                torch.from_numpy(columns.reshape(-1).astype(np.int32)),
                torch.from_numpy(weights.reshape(-1).astype(np.float32)),
                (rows, width),
            ).to(self.device)

"""Tilting: the slab seen along each beam direction, as slices across the beam.

The tilt axis is y, so tilting turns the (z, x) plane alone and rows along y ride along. In the tilted frame u is the
image's axis across the tilt axis and w runs along the beam: x = u cos - w sin, z = u sin + w cos, from the middle.
Samples at every (u, w) by cubic B-splines, as the generators turned their volumes, summed over a slice's thickness, are
one sparse matrix a slice: the same numbers as turning the volume and adding planes, for a fraction of the work.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

SPLINE_POLE = np.sqrt(3.0) - 2.0
SPLINE_REACH = 12
SLICES_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One slice: potential summed along the beam, and how many samples of slab the beam crosses.

    projected: `(u, y) float32`, sums over samples. path: `(u,) float32`, in samples.
    """

    projected: Tensor
    path: Tensor


def spline_coefficients(slab: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn a slab `(z, x, y)` into its cubic B-spline coefficients along z and x, in place; x wraps around.

    The inverse of the filter (1, 4, 1) / 6: sqrt(3) x pole^|k| (Unser 1999), cut off at `SPLINE_REACH`; 0 outside in z.
    """
    taps = (np.sqrt(3.0) * SPLINE_POLE ** np.arange(SPLINE_REACH + 1)).astype(np.float32)
    for x in range(0, slab.shape[1], 64):
        _filter(slab[:, x : x + 64], taps, wrap=False)
    for z in range(slab.shape[0]):
        _filter(slab[z], taps, wrap=True)
    return slab


def _filter(values: NDArray[np.float32], taps: NDArray[np.float32], *, wrap: bool) -> None:
    reach = len(taps) - 1
    before, n = values.copy(), len(values)
    if wrap:
        before = np.concatenate([before[np.arange(-reach, 0) % n], before, before[np.arange(reach) % n]])
    else:
        before = np.pad(before, [(reach, reach)] + [(0, 0)] * (values.ndim - 1))
    values *= taps[0]
    middle = slice(reach, reach + n)
    values[:] = taps[0] * before[middle]
    for k in range(1, reach + 1):
        values += taps[k] * (before[reach - k : reach - k + n] + before[reach + k : reach + k + n])


class TiltedSlab:
    """Slices of a slab at any tilt; `coefficients (z, x, y)` of its B-splines, `width` samples along u."""

    def __init__(self, coefficients: NDArray[np.float32], width: int, slice_samples: int, device: torch.device) -> None:
        self.depth, self.breadth, self.height = coefficients.shape
        self.width = width
        self.slice_samples = slice_samples
        self._plane = torch.from_numpy(coefficients.reshape(self.depth * self.breadth, self.height)).to(device)
        self._device = device

    def slice_count(self, tilt_degree: float) -> int:
        """Return how many slices hold all of the slab that the image sees at a tilt."""
        tilt = np.deg2rad(tilt_degree)
        reach = (self.depth / 2 + self.width / 2 * abs(np.sin(tilt))) / np.cos(tilt)
        return int(np.ceil(2.0 * reach / self.slice_samples))

    def slices(self, tilt_degree: float) -> Iterator[Slice]:
        """Yield the slices at a tilt in the order that the beam, towards increasing w, meets them."""
        count = self.slice_count(tilt_degree)
        for start in range(0, count, SLICES_AT_ONCE):
            numbers = np.arange(start, min(start + SLICES_AT_ONCE, count))
            matrix, path = self._matrix(np.deg2rad(tilt_degree), numbers, count)
            projected = (matrix @ self._plane).reshape(len(numbers), self.width, self.height)
            lengths = torch.from_numpy(path).to(self._device)
            for i in range(len(numbers)):
                yield Slice(projected=projected[i], path=lengths[i])

    def _matrix(self, tilt: float, numbers: NDArray[np.int64], count: int) -> tuple[Tensor, NDArray[np.float32]]:
        """Return the matrix from the (z, x) plane to `(slices x width)`, and the path through the slab of each row."""
        n, width = self.slice_samples, self.width
        u = np.arange(width) - (width - 1) / 2
        w = numbers[0] * n + np.arange(len(numbers) * n) + 0.5 - count * n / 2
        z = u[:, None] * np.sin(tilt) + w[None, :] * np.cos(tilt) + (self.depth - 1) / 2
        row = np.arange(len(w))[None, :] // n * width + np.arange(width)[:, None]
        seen = np.abs(z - (self.depth - 1) / 2) < self.depth / 2 + 2.0
        x = (u[:, None] * np.cos(tilt) - w[None, :] * np.sin(tilt) + (self.breadth - 1) / 2)[seen]
        rows, columns, weights = _spread(row[seen], z[seen], x, (self.depth, self.breadth))
        shape = (len(numbers) * width, self.depth * self.breadth)
        return _to_torch(sparse.csr_array((weights, (rows, columns)), shape=shape), self._device), self._path(
            u, w, tilt
        )

    def _path(self, u: NDArray[Any], w: NDArray[Any], tilt: float) -> NDArray[np.float32]:
        """Return `(slices, u)`, the length of slab in each slice, from the planes where beams enter and leave it."""
        starts = w[:: self.slice_samples, None] - 0.5
        enter = (-self.depth / 2 - u * np.sin(tilt)) / np.cos(tilt)
        leave = (self.depth / 2 - u * np.sin(tilt)) / np.cos(tilt)
        lengths = np.minimum(leave, starts + self.slice_samples) - np.maximum(enter, starts)
        path: NDArray[np.float32] = np.maximum(lengths, 0.0).astype(np.float32)
        return path


def _spread(
    row: NDArray[np.int64], z: NDArray[np.float64], x: NDArray[np.float64], plane: tuple[int, int]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return rows, columns and weights of the sixteen coefficients that each sample reads; x wraps around."""
    z0, x0 = np.floor(z).astype(np.int32) - 1, np.floor(x).astype(np.int32) - 1
    z_weights, x_weights = _spline_weights(z - z0 - 1), _spline_weights(x - x0 - 1)
    z_index = z0[:, None] + np.arange(4, dtype=np.int32)
    x_index = (x0[:, None] + np.arange(4, dtype=np.int32)) % plane[1]
    z_weights = np.where((z_index >= 0) & (z_index < plane[0]), z_weights, np.float32(0.0))
    columns = np.clip(z_index, 0, plane[0] - 1)[:, :, None] * np.int32(plane[1]) + x_index[:, None, :]
    weights = z_weights[:, :, None] * x_weights[:, None, :]
    return np.repeat(row.astype(np.int32), 16), columns.reshape(-1), weights.reshape(-1)


def _spline_weights(t: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the cubic B-spline at the four coefficients around a place `t` in 0..1 beyond the second, `(n, 4)`."""
    weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    return (np.stack(weights, axis=1) / 6.0).astype(np.float32)


def _to_torch(matrix: "sparse.csr_array", device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # sparse CSR is announced as beta
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int32)),
            torch.from_numpy(matrix.indices.astype(np.int32)),
            torch.from_numpy(matrix.data),
            matrix.shape,
        ).to(device)

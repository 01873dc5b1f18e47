"""Boxes and positions: arrays are z, y, x; a voxel's centre is at its integer index; boxes are half-open."""

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

Triple = tuple[int, int, int]
"""Three whole numbers in z, y, x order."""


@dataclass(frozen=True)
class Box:
    """A half-open box of voxels, `start <= index < stop`, in z, y, x; it may reach outside its volume."""

    start: Triple
    stop: Triple

    def __post_init__(self) -> None:
        if any(b < a for a, b in zip(self.start, self.stop, strict=True)):
            raise ValueError(f"box stops before it starts: {self.start} to {self.stop}")

    @classmethod
    def whole(cls, shape: Triple) -> "Box":
        """Return the box of a whole volume of this shape."""
        return cls((0, 0, 0), shape)

    @property
    def shape(self) -> Triple:
        """Edge lengths in voxels."""
        z, y, x = (b - a for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    @property
    def voxels(self) -> int:
        """Number of voxels inside."""
        z, y, x = self.shape
        return z * y * x

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of this box in an array that starts at voxel 0."""
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    def slices_in(self, outer: "Box") -> tuple[slice, slice, slice]:
        """Index of this box in an array of the box `outer`, which holds it."""
        z, y, x = (slice(a - o, b - o) for a, b, o in zip(self.start, self.stop, outer.start, strict=True))
        return z, y, x

    def grown(self, margin: int) -> "Box":
        """Return the box with `margin` voxels added on all six sides."""
        z0, y0, x0 = (a - margin for a in self.start)
        z1, y1, x1 = (b + margin for b in self.stop)
        return Box((z0, y0, x0), (z1, y1, x1))

    def intersection(self, other: "Box") -> "Box":
        """Return the common part; empty (zero voxels) where there is none."""
        z0, y0, x0 = (max(a, b) for a, b in zip(self.start, other.start, strict=True))
        z1, y1, x1 = (min(a, b) for a, b in zip(self.stop, other.stop, strict=True))
        return Box((z0, y0, x0), (max(z0, z1), max(y0, y1), max(x0, x1)))

    def parts(self, longest: Triple) -> list["Box"]:
        """Return boxes of about equal size that partition this one, none with a longer edge than `longest`."""
        axes = []
        for start, size, most in zip(self.start, self.shape, longest, strict=True):
            count = max(1, -(-size // most))
            axes.append(list(pairwise(start + size * i // count for i in range(count + 1))))
        return [Box((z0, y0, x0), (z1, y1, x1)) for (z0, z1), (y0, y1), (x0, x1) in product(*axes)]

    def contains(self, positions: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Tell which positions `(n, 3) zyx, voxels` lie inside; a voxel reaches half a voxel around its centre."""
        low = np.asarray(self.start) - 0.5
        high = np.asarray(self.stop) - 0.5
        inside: NDArray[np.bool_] = np.all((positions >= low) & (positions < high), axis=1)
        return inside

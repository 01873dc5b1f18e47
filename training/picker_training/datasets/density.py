"""Density at listed places: what a tomogram shows where particles are said to be."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picker_runtime.geometry import Box
from picker_runtime.intensity import Intensity, NormalisedSource, measure
from picker_runtime.polarity import seen_polarity
from picker_training.datasets.picks import TomogramFile

SAMPLED_PICKS = 300
LEAST_PICKS = 10
"""Fewer picks say nothing about all of them."""

SURROUNDINGS = 6
"""Each place is compared with so many others about it."""

REACH_OF_UNKNOWN = 2
"""Voxels to each side of a place that are averaged, where the particle's size is not known."""


@dataclass(frozen=True, kw_only=True)
class Density:
    """A tomogram as it is looked at: its intensity as at detection, its sign turned if it is inverted.

    warnings: what was odd about its voxels.
    """

    file: TomogramFile
    intensity: Intensity
    invert: bool
    warnings: tuple[str, ...] = ()

    def around(self, positions: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
        """Return the mean normalised density `(n,)` of the cubes about places `(n, 3) zyx, voxels`."""
        sign = (-1.0 if self.invert else 1.0) / self.intensity.scale
        means = []
        with self.file.open() as tomogram:
            for z, y, x in np.rint(positions).astype(int).tolist():
                box = Box((z - reach, y - reach, x - reach), (z + reach + 1, y + reach + 1, x + reach + 1))
                means.append(float(np.nanmean(tomogram.read(box))))
        return (np.array(means) - self.intensity.center) * sign

    def prominence(self, positions: NDArray[np.float64], diameter_voxels: float) -> float:
        """Return how clearly places `(n, 3) zyx, voxels` differ from those about them, in standard errors.

        Each place is compared with others about a diameter and a half away, so that neither a gradient of the ice nor
        which side of the slab it is counts. Places outside the volume are left out; 0 for too few.
        """
        inside = positions[Box.whole(self.file.shape).contains(positions)]
        if len(inside) < LEAST_PICKS:
            return 0.0
        chosen = inside[np.unique(np.linspace(0, len(inside) - 1, min(len(inside), SAMPLED_PICKS)).astype(int))]
        reach = round(min(max(diameter_voxels / 4, 1.0), 6.0)) if diameter_voxels else REACH_OF_UNKNOWN
        steps = np.random.default_rng(0).normal(size=(SURROUNDINGS, len(chosen), 3))
        steps *= (diameter_voxels * 1.5 or 6.0 * reach) / np.linalg.norm(steps, axis=-1, keepdims=True)
        places = np.concatenate([chosen[None], chosen + steps])
        own, *others = self.around(places.reshape(-1, 3), reach).reshape(len(places), -1)
        differences = own - np.mean(others, axis=0)
        spread = float(np.std(differences))
        return float(abs(np.mean(differences))) / (spread / np.sqrt(len(chosen))) if spread > 0 else 0.0

    def polarity(self) -> str | None:
        """Return "dark" or "bright", as particles look; None where it is not clear."""
        with self.file.open() as tomogram:
            return seen_polarity(NormalisedSource(tomogram, self.intensity, self.invert), tomogram.shape)


def look_at(file: TomogramFile, *, invert: bool) -> Density:
    """Measure a tomogram.

    Raises:
        InputError: if it cannot be read or measured.
    """
    with file.open() as tomogram:
        known = len(tomogram.warnings)
        intensity = measure(tomogram)
        return Density(file=file, intensity=intensity, invert=invert, warnings=tuple(tomogram.warnings[known:]))

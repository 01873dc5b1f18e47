"""What noise alone would allow: how surely any observer could find, tell apart and place the particles of `bench12`.

    python tests/benchmark/ideal_observer.py --templates DIR [--orientations 12]

A tomogram is computed from its tilt series, so nothing can be told from it that the noisy images do not tell. There,
in white noise, two hypotheses differ by d' = |difference of their noise-free images| / noise, and where both are as
frequent, whoever decides between them errs in Q(d' / 2) of cases or more (Neyman and Pearson). For each class the
script prints d' against ice and the least mean error of a centre (Cramer and Rao); for each pair of classes d' and
the least share of errors of an observer who has been told position and orientation. Both particles are drawn in the
orientation in which they look most alike. Neighbours are left out, so these are limits of the noise, not forecasts.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor

from picker_training.baselines.rotations import even_rotations
from picker_training.simulation import find_preset
from picker_training.simulator.microscope import contrast_transfer, form_images, noise_images
from picker_training.simulator.presets import SHREC2020_CLASSES
from picker_training.simulator.reconstruction import TiltGeometry
from picker_training.simulator.scene import SceneSpec, simulate
from picker_training.simulator.specimen import draw_particles, random_rotations
from picker_training.simulator.templates import Template, load_templates

EDGE = 64
"""Voxels along the cube in which one particle is seen; its images ring no further."""

ALIGNED_EDGE = 40
"""Voxels along the cube in which densities alone are compared; the largest of them just fits."""

BREADTH = 160
"""Voxels along y and x of the crowded slab that sets the noise."""

ALIGNED_WITH = 800
"""Orientations that are tried to make two classes look alike: none is further than 23 degrees from the nearest."""

DRAWS = 400
"""Errors drawn from each least covariance for its mean length."""


class Observer:
    """Sees single particles through the microscope of a scene, in its noise."""

    def __init__(self, spec: SceneSpec, templates: list[Template], seed: int) -> None:
        self.spec = spec
        cube = (EDGE, EDGE, EDGE)
        self._geometry = TiltGeometry(cube, spec.microscope.tilts_degree, torch.device("cpu"))
        self._deviation = _noise_deviation(spec, templates, seed)

    def noise(self, snr: float) -> float:
        """Return the standard deviation of a pixel of the tilt images in a tomogram of this SNR."""
        return self._deviation / snr**0.5

    def images(self, density: Tensor) -> Tensor:
        """Return the noise-free images `(t, h, w)` of a density."""
        return form_images(self._geometry.project(density), self.spec.microscope, self.spec.voxel_size)

    def draw(
        self, template: Template, rotation: NDArray[np.float64], offset: Sequence[float] = (0.0, 0.0, 0.0)
    ) -> Tensor:
        """Return the density of one particle, `offset` voxels off the central voxel of the cube."""
        return _in_cube(template, rotation[None], self.spec.voxel_size, EDGE, offset)[0]

    def strength(self, density: Tensor) -> float:
        """Return the root of the summed squares of a density's images."""
        return float(self.images(density).square().sum()) ** 0.5

    def information(self, density: Tensor) -> NDArray[np.float64]:
        """Return the Fisher information `(3, 3)` of its place, zyx, voxels, in noise of unit deviation."""
        spectrum = torch.fft.fftn(density)
        slopes = []
        for axis in range(3):
            wave = 2j * np.pi * torch.fft.fftfreq(EDGE).reshape([-1 if a == axis else 1 for a in range(3)])
            slopes.append(self.images(torch.fft.ifftn(spectrum * wave).real).flatten())
        stacked = torch.stack(slopes).double()
        information: NDArray[np.float64] = (stacked @ stacked.T).numpy()
        return information


def _noise_deviation(spec: SceneSpec, templates: list[Template], seed: int) -> float:
    """Return what a pixel's noise must be for SNR 1: the slab's signal over what noise of 1 becomes in it."""
    particles = round(spec.particles * BREADTH**2 / (spec.shape[1] * spec.shape[2]))
    patch = replace(spec, shape=(spec.shape[0], BREADTH, BREADTH), particles=particles, periodic=True)
    geometry = TiltGeometry(patch.shape, spec.microscope.tilts_degree, torch.device("cpu"))
    blank = torch.zeros(len(geometry.tilts), BREADTH, geometry.width)
    noise = noise_images(blank, spec.microscope, spec.voxel_size, torch.Generator().manual_seed(seed))
    reconstructed = geometry.reconstruct(noise, spec.microscope.ramp_cutoff)
    variance = simulate(patch, templates, seed).signal_variance
    return float(variance**0.5 / reconstructed.std())


def _in_cube(
    template: Template,
    rotations: NDArray[np.float64],
    voxel_size: float,
    edge: int,
    offset: Sequence[float] = (0.0, 0.0, 0.0),
) -> Tensor:
    """Return a template in these orientations `(n, edge, edge, edge)`, `offset` voxels off the central voxel."""
    drawn, _ = draw_particles(template, rotations, np.tile(offset, (len(rotations), 1)), voxel_size)
    start = edge // 2 - drawn.shape[1] // 2
    inside = slice(start, start + drawn.shape[1])
    cubes = torch.zeros(len(rotations), edge, edge, edge)
    cubes[:, inside, inside, inside] = drawn
    return cubes


def most_alike(observer: Observer, templates: Sequence[Template]) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Return for each pair of classes the second one's orientation in which it looks most like the first.

    Alike is what differs least in the mean over all directions of view: spectra are weighted with CTF / sqrt(k), since
    planes through the origin meet the frequencies of a shell as often as its radius k is small.
    """
    spec, edge = observer.spec, ALIGNED_EDGE
    along = torch.fft.fftfreq(edge, spec.voxel_size)
    k = torch.sqrt(along[:, None, None] ** 2 + along[None, :, None] ** 2 + along**2)
    weight = contrast_transfer(spec.microscope, k, spec.voxel_size) / k.clamp(min=0.5 * float(along[1])).sqrt()

    def weighted(template: Template, rotations: NDArray[np.float64]) -> Tensor:
        cubes = _in_cube(template, rotations, spec.voxel_size, edge)
        return torch.fft.fftn(cubes, dim=(1, 2, 3)) * weight

    rotations = even_rotations(ALIGNED_WITH)
    still: dict[str, Tensor] = {}
    aligned = {}
    for second in templates:
        turned = weighted(second, rotations)
        for first, spectrum in still.items():
            differences = (turned - spectrum).abs().square().sum(dim=(1, 2, 3))
            aligned[first, second.name] = rotations[int(differences.argmin())]
        still[second.name] = weighted(second, np.eye(3)[None])
    return aligned


def class_limits(
    observer: Observer, template: Template, rotations: NDArray[np.float64], rng: np.random.Generator
) -> tuple[float, float]:
    """Return d' against ice and the least mean error of a centre in voxels, in noise of 1: means over orientations."""
    strengths, errors = [], []
    for rotation in rotations:
        density = observer.draw(template, rotation)
        strengths.append(observer.strength(density))
        covariance = np.linalg.inv(observer.information(density))
        errors.append(np.linalg.norm(rng.multivariate_normal(np.zeros(3), covariance, DRAWS), axis=1).mean())
    return float(np.mean(strengths)), float(np.mean(errors))


def main() -> None:
    """Measure the limits of classes and pairs and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=Path, required=True)
    parser.add_argument("--orientations", type=int, default=12)
    options = parser.parse_args()
    preset = find_preset("bench12")
    templates = load_templates(options.templates, SHREC2020_CLASSES)
    observer = Observer(preset.spec, templates, preset.seeds[0])
    noise = {snr: observer.noise(snr) for snr in preset.snrs}
    rng = np.random.default_rng(preset.seeds[0])
    rotations = random_rotations(options.orientations, rng)
    print("class   " + "".join(f" | SNR {snr:<4g}    d'  centre" for snr in noise))
    for template in templates:
        strength, error = class_limits(observer, template, rotations, rng)
        columns = (f" |          {strength / n:6.1f}  {error * n:6.2f}" for n in noise.values())
        print(f"{template.name:8}" + "".join(columns), flush=True)
    named = {template.name: template for template in templates}
    print("pair     " + "".join(f" | SNR {snr:<4g}    d'  errors" for snr in noise))
    for (first, second), turn in most_alike(observer, templates).items():
        drawn = [observer.draw(named[first], r) - observer.draw(named[second], r @ turn) for r in rotations]
        apart = np.array([observer.strength(difference) for difference in drawn])
        columns = (f" |         {apart.mean() / n:6.1f} {norm.sf(apart / n / 2).mean():7.1e}" for n in noise.values())
        print(f"{first} {second}" + "".join(columns), flush=True)


if __name__ == "__main__":
    main()

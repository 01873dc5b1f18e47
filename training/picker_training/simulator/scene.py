"""Scenes: a specimen seen by a microscope, as a tomogram in parts with its truth."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from picker_runtime.geometry import Triple
from picker_training.simulator.contaminants import GOLD, VESICLE, gold_bead, vesicle
from picker_training.simulator.microscope import Microscope, form_images, low_pass, noise_images
from picker_training.simulator.reconstruction import TiltGeometry
from picker_training.simulator.specimen import Placements, SlabBuilder, Specimen
from picker_training.simulator.templates import Template


@dataclass(frozen=True, kw_only=True)
class SceneSpec:
    """What a scene holds and how it is seen.

    shape: `(d, h, w)` voxels. particles: how many in all, spread evenly over the classes.
    gold, vesicles, strangers: how many beads, vesicles and copies of each unlabelled template.
    periodic: x and y wrap around, so that particles are cut by the sides as in a field of view.
    """

    shape: Triple
    particles: int
    voxel_size: float = 10.0
    gold: int = 0
    vesicles: int = 0
    strangers: int = 0
    periodic: bool = False
    microscope: Microscope = field(default_factory=Microscope)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A simulated tomogram in its parts, all on one grid, with its truth.

    signal: `(d, h, w) float32`, the reconstruction without noise.
    noise: `(d, h, w) float32`, the reconstruction of noise alone, unit variance.
    signal_variance: of the particles' part of the signal; sets the noise level for a given SNR.
    occupancy: `(d, h, w) int32`, particle number of each voxel, 0 for background.
    contaminants: `(d, h, w) int8`, VESICLE, GOLD or STRANGER where there is one, else 0.
    """

    voxel_size: float
    signal: Tensor
    noise: Tensor
    signal_variance: float
    occupancy: NDArray[np.int32]
    contaminants: NDArray[np.int8]
    placements: Placements

    def tomogram(self, snr: float) -> NDArray[np.float32]:
        """Return the tomogram at an SNR, var(signal) / var(noise) over the slab, `(d, h, w) float32`.

        Gold, vesicles and strangers do not count as signal here, so they leave the particles' difficulty unchanged.
        """
        tomogram: NDArray[np.float32] = (self.signal + (self.signal_variance / snr) ** 0.5 * self.noise).cpu().numpy()
        return tomogram


def simulate(
    spec: SceneSpec,
    templates: list[Template],
    seed: int,
    *,
    strangers: list[Template] | None = None,
    device: torch.device | None = None,
) -> Scene:
    """Simulate a scene; the same seed, spec and device give the same scene.

    strangers: templates whose particles are put in without a label.
    """
    specimen, particles = _fill_slab(spec, templates, strangers or [], np.random.default_rng(seed))
    view = _View(spec, device or torch.device("cpu"))
    images = view.images(specimen.density)
    generator = torch.Generator(view.device).manual_seed(seed)
    noise = view.reconstruct(noise_images(images, spec.microscope, spec.voxel_size, generator))
    signal = view.reconstruct(images)
    of_particles = signal if particles is None else view.reconstruct(view.images(particles))
    return Scene(
        voxel_size=spec.voxel_size,
        signal=signal,
        noise=(noise - noise.mean()) / noise.std(),
        signal_variance=float(of_particles.var()),
        occupancy=np.maximum(specimen.occupancy, 0),
        contaminants=np.minimum(specimen.occupancy, 0).astype(np.int8),
        placements=specimen.placements,
    )


class _View:
    """A microscope looking at slabs of one shape."""

    def __init__(self, spec: SceneSpec, device: torch.device) -> None:
        self.device = device
        self._spec = spec
        self._geometry = TiltGeometry(spec.shape, spec.microscope.tilts_degree, device)

    def images(self, density: Tensor) -> Tensor:
        """Return noise-free images `(t, h, w)` of a density."""
        return form_images(self._geometry.project(density), self._spec.microscope, self._spec.voxel_size)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Return the tomogram `(d, h, w)` of images."""
        finished = low_pass(images, self._spec.microscope, self._spec.voxel_size)
        return self._geometry.reconstruct(finished, self._spec.microscope.ramp_cutoff)


def _fill_slab(
    spec: SceneSpec, templates: list[Template], strangers: list[Template], rng: np.random.Generator
) -> tuple[Specimen, Tensor | None]:
    """Return the specimen and, if it holds more than particles and ice, the density of the particles alone."""
    builder = SlabBuilder(spec.shape, spec.voxel_size, rng, periodic=spec.periodic)
    _add_membranes(builder, spec, rng)
    before = builder.density.copy()
    counts = rng.multinomial(spec.particles, np.full(len(templates), 1.0 / len(templates)))
    placements = builder.add_particles(templates, counts.tolist())
    particles = torch.from_numpy(builder.density - before)
    builder.add_particles(strangers, [spec.strangers] * len(strangers), label=False)
    _add_gold(builder, spec, rng)
    mixed = bool(spec.gold or spec.vesicles or (strangers and spec.strangers))
    return builder.finish(placements), particles if mixed else None


def _add_membranes(builder: SlabBuilder, spec: SceneSpec, rng: np.random.Generator) -> None:
    for _ in range(spec.vesicles):
        largest = 0.8 * min(spec.shape) * spec.voxel_size
        diameter = rng.uniform(min(250.0, 0.5 * largest), min(900.0, largest))
        builder.add(*vesicle(diameter, spec.voxel_size, rng.uniform(0.85, 1.15, 3)), VESICLE)


def _add_gold(builder: SlabBuilder, spec: SceneSpec, rng: np.random.Generator) -> None:
    for _ in range(spec.gold):
        builder.add(*gold_bead(float(rng.choice([50.0, 60.0, 100.0])), spec.voxel_size), GOLD)

"""Scenes of SHREC 2020 and 2021: a population, its images and its tomogram, with all truth."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from picker_runtime.errors import UsageError
from picker_training.simulator.faithful.fast import ProjectingImager
from picker_training.simulator.faithful.imaging import Imager, MultisliceImager, Report, reconstruct, take_series
from picker_training.simulator.faithful.optics import Optics
from picker_training.simulator.faithful.parameters import Shrec2021Parameters, ShrecParameters
from picker_training.simulator.faithful.population import Population, no_particles, open_occupancy, populate
from picker_training.simulator.faithful.slab import build_slab, grandmodel, open_masks
from picker_training.simulator.faithful.tilting import TiltedSlab, spline_coefficients
from picker_training.simulator.templates import Template


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a scene drew within its parameters' limits: defocus, and the dose of the series (0: none is drawn)."""

    defocus_um: float
    dose_per_angstrom2: float


@dataclass(frozen=True, kw_only=True)
class ShrecScene:
    """A tomogram in its parts, all `(d, h, w)`, with its truth.

    signal: float32, reconstruction of the images with lenses and missing wedge, without detector and structural noise.
    structure, detection: float32, what beam damage and the detector add to it.
    grandmodel: float32, potential of particles, gold and vesicles beyond that of the ice, without the ice's own noise.
    opened: int32, the occupancy with particles' masks that are not closed.
    """

    parameters: ShrecParameters
    conditions: Conditions
    seed: int
    fast: bool
    population: Population
    signal: NDArray[np.float32]
    structure: NDArray[np.float32]
    detection: NDArray[np.float32]
    grandmodel: NDArray[np.float32]
    opened: NDArray[np.int32]

    def tomogram(self, snr: float | None = None) -> NDArray[np.float32]:
        """Return the tomogram, float32, at an SNR; by default that of the parameters.

        Raises:
            UsageError: E80 if the structural noise alone leaves a lower SNR.
        """
        gain = np.float32(self._detection_gain(snr or self.parameters.snr))
        return self.signal + self.structure + gain * self.detection

    def snr(self, tomogram: NDArray[np.float32]) -> float:
        """Return var(signal) / var(tomogram - signal) over the slab."""
        return _variance(self.signal) / _variance(tomogram - self.signal)

    def _detection_gain(self, snr: float | None) -> float:
        """Solve var(structure + gain x detection) = var(signal) / snr."""
        if snr is None:
            return 1.0
        fixed, scaled = _variance(self.structure), _variance(self.detection)
        mixed = (_variance(self.structure + self.detection) - fixed - scaled) / 2.0
        lacking = fixed - _variance(self.signal) / snr
        if lacking > 0.0:
            highest = _variance(self.signal) / fixed
            problem = f"the structural noise alone leaves an SNR of {highest:.3g}"
            raise UsageError(80, f"--snr {snr:g}", problem, "ask for a lower one")
        return float((-mixed + np.sqrt(mixed**2 - scaled * lacking)) / scaled)

    @property
    def names(self) -> tuple[str, ...]:
        """Class of everything that is listed: particles, then vesicles, then gold."""
        particles = tuple(self.parameters.classes[c] for c in self.population.inside.class_ids)
        return particles + tuple(extra.name for extra in self.population.extras)

    @property
    def positions(self) -> NDArray[np.float64]:
        """Places of everything that is listed, `(n, 3) float64, zyx, voxels`."""
        extras = np.array([extra.position for extra in self.population.extras], np.float64).reshape(-1, 3)
        return np.concatenate([self.population.inside.positions, extras])


def simulate_shrec(
    parameters: ShrecParameters,
    templates: Sequence[Template],
    sharp: Sequence[Template],
    seed: int,
    *,
    device: torch.device,
    fast: bool = False,
    report: Report = lambda message: None,
) -> ShrecScene:
    """Simulate a scene; the same parameters, seed and device give the same scene.

    templates: give the masks. sharp: the same classes, give the potential. fast: project boxes instead of waves.
    """
    conditions = draw_conditions(parameters, np.random.default_rng((seed, 1)))
    population = populate(parameters, templates, np.random.default_rng((seed, 0)))
    report(f"placed {len(population.inside)} particles")
    optics = Optics(parameters=parameters, defocus_angstrom=conditions.defocus_um * 1e4, device=device)
    imager, model = (_project if fast else _slice)(optics, sharp, population, seed)
    report("drew the slab")
    series = take_series(parameters, imager, optics, seed, conditions.dose_per_angstrom2, report)
    parts = reconstruct((series.clean, series.structure, series.detection), parameters)
    signal, structure, detection = (part.cpu().numpy() for part in parts)
    masks = open_masks(parameters, templates, population.inside)
    return ShrecScene(
        parameters=parameters,
        conditions=conditions,
        seed=seed,
        fast=fast,
        population=population,
        signal=signal,
        structure=structure,
        detection=detection,
        grandmodel=model,
        opened=open_occupancy(population.occupancy, population.inside, masks),
    )


def _slice(
    optics: Optics, sharp: Sequence[Template], population: Population, seed: int
) -> tuple[Imager, NDArray[np.float32]]:
    """Return what makes images from the whole slab, and the grandmodel."""
    p = optics.parameters
    slab = build_slab(p, sharp, population)
    model = grandmodel(slab, p)
    _add_ice_noise(slab, p, seed)
    thickness = round(p.slice_angstrom / p.sampling_angstrom)
    tilted = TiltedSlab(spline_coefficients(slab), p.wave_side, thickness, optics.device)
    return MultisliceImager(slab=tilted, optics=optics), model


def _project(
    optics: Optics, sharp: Sequence[Template], population: Population, seed: int
) -> tuple[Imager, NDArray[np.float32]]:
    """Return what makes images from each particle alone, and the grandmodel, for which the field alone is drawn."""
    field_only = dataclasses.replace(optics.parameters, margin=0, breadth=optics.parameters.field)
    within = dataclasses.replace(population, around=no_particles())
    model = grandmodel(build_slab(field_only, sharp, within), field_only)
    return ProjectingImager(optics, sharp, population), model


def draw_conditions(p: ShrecParameters, rng: np.random.Generator) -> Conditions:
    """Draw defocus and dose evenly within their limits."""
    defocus = float(rng.uniform(*p.defocus_um))
    dose = float(rng.uniform(*p.dose_per_angstrom2)) if isinstance(p, Shrec2021Parameters) else 0.0
    return Conditions(defocus_um=defocus, dose_per_angstrom2=dose)


def _add_ice_noise(slab: NDArray[np.float32], p: ShrecParameters, seed: int) -> None:
    rng = np.random.default_rng((seed, 3))
    if p.ice_noise_volt > 0.0:
        for plane in slab:
            plane += rng.standard_normal(plane.shape, np.float32) * np.float32(p.ice_noise_volt)


def _variance(volume: NDArray[np.float32]) -> float:
    return float(volume.var(dtype=np.float64))


def describe(scene: ShrecScene, tomogram: NDArray[np.float32]) -> dict[str, object]:
    """Return all that the record of a scene's tomogram states, as JSON knows it."""
    names = scene.names
    return {
        "generator": type(scene.parameters).__name__,
        "seed": scene.seed,
        "fast": scene.fast,
        "snr": scene.snr(tomogram),
        "snr_of_recipe": scene.snr(scene.signal + scene.structure + scene.detection),
        **dataclasses.asdict(scene.conditions),
        "counts": {name: names.count(name) for name in sorted(set(names))},
        "parameters": dataclasses.asdict(scene.parameters),
    }

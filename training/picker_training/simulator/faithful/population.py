"""Population: what lies where in the slab, within the field and around it, without overlap.

Placing works on the tomogram's grid with the particles' closed masks: they may touch, not share a voxel. What the truth
lists lies wholly within the field; material goes on around it, but nothing crosses the field's sides.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picker_runtime.geometry import Triple
from picker_training.simulator.contaminants import gold_bead, vesicle
from picker_training.simulator.faithful.parameters import Shrec2021Parameters, ShrecParameters
from picker_training.simulator.specimen import Placements, SlabBuilder
from picker_training.simulator.templates import Template

OUTSIDE = -9
"""Marks voxels where nothing may be placed at the moment."""

FIRST_EXTRA = 1_000_000
"""Numbers from here on stand for gold and vesicles until the particles are counted."""

MEMBRANE, GOLD = "vesicle", "fiducial"


@dataclass(frozen=True, kw_only=True)
class Extra:
    """A vesicle or a gold bead: `position (3,) zyx, voxels` and the shape that draws it again."""

    name: str
    position: NDArray[np.float64]
    diameter_angstrom: float
    stretch: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Population:
    """Everything in the slab; positions are voxels of the tomogram, also outside the field.

    inside, around: particles within the field (number i + 1 in the occupancy) and beside it.
    extras: vesicles and gold in the field, numbered on from the particles.
    occupancy: `(d, h, w) int32`, number of the thing that each voxel of the field belongs to, 0 for ice.
    """

    inside: Placements
    around: Placements
    extras: tuple[Extra, ...]
    occupancy: NDArray[np.int32]


def populate(parameters: ShrecParameters, templates: Sequence[Template], rng: np.random.Generator) -> Population:
    """Draw the population of a scene: classes in equal numbers on average, places and orientations at random."""
    p = parameters
    count = int(rng.integers(p.particles[0], p.particles[1] + 1))
    field = SlabBuilder(p.shape, p.voxel_size_angstrom, rng, periodic=False)
    extras = _add_extras(field, p, rng)
    inside = field.add_particles(templates, _shares(count, len(templates), rng))
    around = _surround(p, templates, count, rng)
    occupancy = np.where(field.occupancy >= FIRST_EXTRA, field.occupancy - FIRST_EXTRA + len(inside), field.occupancy)
    return Population(inside=inside, around=around, extras=tuple(extras), occupancy=occupancy.astype(np.int32))


def no_particles() -> Placements:
    """Return placements of nothing."""
    return Placements(class_ids=np.zeros(0, np.int32), positions=np.zeros((0, 3)), rotations=np.zeros((0, 3, 3)))


def open_occupancy(
    occupancy: NDArray[np.int32], inside: Placements, drawn: Iterable[tuple[int, NDArray[np.bool_], Triple]]
) -> NDArray[np.int32]:
    """Return the occupancy with each particle's mask as `drawn` (number, mask, low corner), not closed."""
    opened = np.where(occupancy > len(inside), occupancy, 0)
    for number, mask, low in drawn:
        window = tuple(slice(a, a + n) for a, n in zip(low, mask.shape, strict=True))
        part = opened[window]
        part[mask & (occupancy[window] == number)] = number
    return opened


def _shares(count: int, classes: int, rng: np.random.Generator) -> list[int]:
    shares: list[int] = rng.multinomial(count, np.full(classes, 1.0 / classes)).tolist()
    return shares


def _surround(p: ShrecParameters, templates: Sequence[Template], count: int, rng: np.random.Generator) -> Placements:
    """Fill the slab beside the field as densely as the field; it wraps around in x and y."""
    shape = (p.depth, p.field + 2 * p.margin, p.breadth)
    left = (p.breadth - p.field) // 2
    if shape[1] * shape[2] == p.field**2:
        return no_particles()
    slab = SlabBuilder(shape, p.voxel_size_angstrom, rng, periodic=True)
    slab.occupancy[:, p.margin : p.margin + p.field, left : left + p.field] = OUTSIDE
    beside = round(count * (shape[1] * shape[2] / p.field**2 - 1.0))
    placed = slab.add_particles(templates, _shares(beside, len(templates), rng))
    return Placements(
        class_ids=placed.class_ids, positions=placed.positions - (0, p.margin, left), rotations=placed.rotations
    )


def _add_extras(field: SlabBuilder, p: ShrecParameters, rng: np.random.Generator) -> list[Extra]:
    """Place vesicles, then gold."""
    if not isinstance(p, Shrec2021Parameters):
        return []
    extras: list[Extra] = []
    largest = 0.8 * min(p.shape) * p.voxel_size_angstrom
    wanted = [MEMBRANE] * int(rng.integers(p.vesicles[0], p.vesicles[1] + 1))
    wanted += [GOLD] * int(rng.integers(p.gold[0], p.gold[1] + 1))
    for name in wanted:
        limits = p.vesicle_diameter_angstrom if name == MEMBRANE else p.gold_diameter_angstrom
        diameter = float(rng.uniform(*np.minimum(limits, largest)))
        stretch = rng.uniform(0.85, 1.15, 3) if name == MEMBRANE else np.ones(3)
        _, mask = draw_extra(name, diameter, stretch, p.voxel_size_angstrom)
        centre = field.add(np.zeros(mask.shape, np.float32), mask, FIRST_EXTRA + len(extras) + 1)
        if centre is not None:
            fine = p.voxel_size_angstrom / p.drawing_angstrom
            position = np.asarray(centre + 0.5 / fine - 0.5, np.float64)  # on a sample of the drawing grid
            extras.append(Extra(name=name, position=position, diameter_angstrom=diameter, stretch=stretch))
    return extras


def draw_extra(
    name: str, diameter_angstrom: float, stretch: NDArray[np.float64], voxel_size: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the density (1 at most) and mask of a vesicle or gold bead, centred in boxes with odd sides."""
    if name == GOLD:
        density, mask = gold_bead(diameter_angstrom, voxel_size)
    else:
        density, mask = vesicle(diameter_angstrom, voxel_size, stretch)
    return density / density.max(), mask

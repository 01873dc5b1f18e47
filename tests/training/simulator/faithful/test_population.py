from dataclasses import replace

import numpy as np
import pytest

from picker_training.simulator.faithful.parameters import Shrec2020Parameters, Shrec2021Parameters
from picker_training.simulator.faithful.population import Population, open_occupancy, populate
from picker_training.simulator.faithful.slab import block_mean, bounding_boxes, build_slab, grandmodel, open_masks
from picker_training.simulator.specimen import Placements
from picker_training.simulator.templates import Template


@pytest.fixture
def population(small_2021: Shrec2021Parameters, phantoms: list[Template]) -> Population:
    return populate(small_2021, phantoms, np.random.default_rng(3))


def test_everything_listed_lies_within_the_field(population: Population, small_2021: Shrec2021Parameters) -> None:
    positions = population.inside.positions
    assert small_2021.particles[0] <= len(positions) <= small_2021.particles[1]
    assert [extra.name for extra in population.extras] == ["vesicle", "fiducial"]
    for number, position in enumerate(positions, start=1):
        assert population.occupancy[tuple(np.rint(position).astype(int))] == number
    assert set(np.unique(population.occupancy)) == set(range(len(positions) + 3))
    edges = [np.take(population.occupancy, i, axis) for axis in range(3) for i in (0, -1)]
    assert all(np.all(edge == 0) for edge in edges)


def test_the_field_s_surroundings_are_as_crowded_and_outside(
    population: Population, small_2021: Shrec2021Parameters
) -> None:
    z, y, x = population.around.positions.T
    field = small_2021.field
    assert np.all((y < 0) | (y > field - 1) | (x < 0) | (x > field - 1))
    assert np.all((x > -field / 2 - 1) & (x < 1.5 * field) & (z > 0) & (z < small_2021.depth))
    share = (64 * 96) / 48**2 - 1.0
    assert len(z) == pytest.approx(share * len(population.inside), abs=3)


def test_the_same_seed_gives_the_same_population(small_2021: Shrec2021Parameters, phantoms: list[Template]) -> None:
    first, second = (populate(small_2021, phantoms, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first.occupancy, second.occupancy)
    assert np.array_equal(first.around.positions, second.around.positions)
    other = populate(small_2021, phantoms, np.random.default_rng(6))
    assert not np.array_equal(first.occupancy, other.occupancy)


def test_open_masks_lie_within_the_closed_ones(
    population: Population, small_2021: Shrec2021Parameters, phantoms: list[Template]
) -> None:
    masks = open_masks(small_2021, phantoms, population.inside)
    opened = open_occupancy(population.occupancy, population.inside, masks)
    assert np.all((opened == 0) | (opened == population.occupancy))
    ring = [i for i, c in enumerate(population.inside.class_ids) if c == 2]
    for i in ring:  # the only hollow class
        centre = tuple(np.rint(population.inside.positions[i]).astype(int))
        assert opened[centre] == 0
        assert 0 < np.count_nonzero(opened == i + 1) < np.count_nonzero(population.occupancy == i + 1)
    for number in range(len(population.inside) + 1, len(population.inside) + 3):
        assert np.array_equal(opened == number, population.occupancy == number)


def test_boxes_hold_their_things() -> None:
    occupancy = np.zeros((5, 6, 7), np.int32)
    occupancy[1, 1, 1] = occupancy[3, 2, 4] = 1
    occupancy[4, 5, 6] = 3
    boxes = bounding_boxes(occupancy)
    assert np.all(boxes[1:4, 1:3, 1:5] == 1)
    assert boxes[4, 5, 6] == 3
    assert np.count_nonzero(boxes) == 3 * 2 * 4 + 1


def lone(position: tuple[float, float, float]) -> Population:
    """Return one particle, unturned."""
    none = Placements(class_ids=np.zeros(0, np.int32), positions=np.zeros((0, 3)), rotations=np.zeros((0, 3, 3)))
    one = Placements(class_ids=np.zeros(1, np.int32), positions=np.array([position]), rotations=np.eye(3)[None])
    return Population(inside=one, around=none, extras=(), occupancy=np.zeros((32, 48, 48), np.int32))


@pytest.mark.parametrize("position", [(16.0, 24.0, 20.0), (15.3, 20.25, 27.6)])
def test_the_grandmodel_has_a_particle_at_its_place_with_its_mass(
    small_2020: Shrec2020Parameters,
    small_2021: Shrec2021Parameters,
    phantoms: list[Template],
    position: tuple[float, float, float],
) -> None:
    for p in (small_2020, small_2021):
        model = grandmodel(build_slab(p, phantoms, lone(position)), p)
        grid = np.indices(model.shape)
        centre = [(axis * model).sum() / model.sum() for axis in grid]
        assert centre == pytest.approx(position, abs=0.03)
        mass = phantoms[0].mass_kda * 1000.0 * p.contrast_volt_per_density / p.voxel_size_angstrom**3
        assert model.sum() == pytest.approx(mass, rel=0.01)


def test_particles_beside_the_field_wrap_around(small_2020: Shrec2020Parameters, phantoms: list[Template]) -> None:
    p = replace(small_2020, margin=0, breadth=48)
    inner = build_slab(p, phantoms, lone((16.0, 24.0, 24.0)))
    outer = build_slab(p, phantoms, lone((16.0, 0.0, 0.0)))
    assert np.roll(outer, (24, 24), (1, 2)) == pytest.approx(inner, abs=1e-6)


def test_block_means_stay_in_place() -> None:
    volume = np.zeros((4, 4, 4), np.float32)
    volume[2:, :2, 2:] = 8.0
    assert block_mean(volume, 2).tolist() == [[[0.0, 0.0], [0.0, 0.0]], [[0.0, 8.0], [0.0, 0.0]]]


def test_gold_and_vesicles_are_where_they_are_listed(
    population: Population, small_2021: Shrec2021Parameters, phantoms: list[Template]
) -> None:
    for extra in population.extras:
        only = replace(lone((16.0, 24.0, 20.0)), extras=(extra,))
        empty = replace(small_2021, contrast_volt_per_density=0.0)
        model = grandmodel(build_slab(empty, phantoms, only), empty)
        centre = [(axis * model).sum() / model.sum() for axis in np.indices(model.shape)]
        assert centre == pytest.approx(extra.position, abs=0.02)

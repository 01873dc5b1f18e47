import numpy as np
import pytest
from scipy import ndimage
from training.phantoms import block_template

from picker_training.simulator.contaminants import STRANGER
from picker_training.simulator.specimen import Placements, SlabBuilder, draw_particles, random_rotations
from picker_training.simulator.templates import Template

VOXEL_SIZE = 10.0
TURN_X_TO_Y = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # zyx: x goes to y, y to -x
TURN_X_TO_Z = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # zyx: x goes to z, z to -x


def filled(
    templates: list[Template], counts: list[int], *, seed: int = 0, shape: tuple[int, int, int] = (40, 64, 64),
    periodic: bool = False,
) -> tuple[SlabBuilder, Placements]:  # fmt: skip
    builder = SlabBuilder(shape, VOXEL_SIZE, np.random.default_rng(seed), periodic=periodic)
    return builder, builder.add_particles(templates, counts)


def test_rotations_are_orthonormal_and_no_mirrors() -> None:
    rotations = random_rotations(200, np.random.default_rng(0))
    assert rotations @ rotations.transpose(0, 2, 1) == pytest.approx(np.broadcast_to(np.eye(3), (200, 3, 3)))
    assert np.linalg.det(rotations) == pytest.approx(np.ones(200))


def test_rotations_favour_no_direction() -> None:
    rotations = random_rotations(20_000, np.random.default_rng(0))
    assert np.abs(rotations.mean(axis=0)).max() < 0.02
    assert (rotations**2).mean(axis=0) == pytest.approx(np.full((3, 3), 1 / 3), abs=0.01)


@pytest.mark.parametrize(
    ("rotation", "direction"), [(np.eye(3), (0, 0, 1)), (TURN_X_TO_Y, (0, 1, 0)), (TURN_X_TO_Z, (1, 0, 0))]
)
def test_a_rotation_takes_the_template_s_axes_to_the_tomogram_s(
    rotation: np.ndarray, direction: tuple[int, int, int]
) -> None:
    density, _ = draw_particles(block_template(), rotation[None], np.zeros((1, 3)), VOXEL_SIZE)
    centre = np.array(density.shape[1:]) // 2
    assert np.array(ndimage.center_of_mass(density[0].numpy())) - centre == pytest.approx(
        np.array(direction) * 2.5, abs=0.1
    )


@pytest.mark.parametrize("number", range(3))
def test_a_drawn_particle_lies_where_it_should(phantoms: list[Template], number: int) -> None:
    rng = np.random.default_rng(number)
    offsets = rng.uniform(-0.5, 0.5, (20, 3))
    density, mask = draw_particles(phantoms[number], random_rotations(20, rng), offsets, VOXEL_SIZE)
    for one, offset in zip(density.numpy(), offsets, strict=True):
        centre = np.array(ndimage.center_of_mass(one)) - np.array(one.shape) // 2
        assert np.abs(centre - offset).max() < 0.05
        assert one.sum() * VOXEL_SIZE**3 / 1000 == pytest.approx(phantoms[number].mass_kda, rel=0.03)
    edges = np.concatenate([mask[:, [0, -1]].flatten(), mask[:, :, [0, -1]].flatten(), mask[..., [0, -1]].flatten()])
    assert edges.max() < 0.5


def test_particles_do_not_overlap_and_have_their_numbers(phantoms: list[Template]) -> None:
    builder, placed = filled(phantoms, [8, 7, 6])
    assert len(placed) == 21
    assert np.bincount(placed.class_ids).tolist() == [8, 7, 6]
    for number, (class_id, position, rotation) in enumerate(
        zip(placed.class_ids, placed.positions, placed.rotations, strict=True), start=1
    ):
        voxel = np.round(position).astype(int)
        assert builder.occupancy[tuple(voxel)] == number
        _, mask = draw_particles(phantoms[class_id], rotation[None], (position - voxel)[None], VOXEL_SIZE)
        assert np.count_nonzero(builder.occupancy == number) == np.count_nonzero(mask[0].numpy() > 0.5)


def test_the_slab_holds_the_mass_of_its_particles(phantoms: list[Template]) -> None:
    builder, _ = filled(phantoms, [4, 3, 2])
    mass = sum(t.mass_kda * n for t, n in zip(phantoms, (4, 3, 2), strict=True))
    assert builder.density.sum() * VOXEL_SIZE**3 / 1000 == pytest.approx(mass, rel=0.02)


def test_a_full_slab_takes_no_more(phantoms: list[Template]) -> None:
    builder, placed = filled(phantoms[:1], [400], shape=(24, 24, 24))
    assert 0 < len(placed) < 400
    assert set(np.unique(builder.occupancy)) == set(range(len(placed) + 1))


def test_a_slab_too_small_for_a_particle_stays_empty(phantoms: list[Template]) -> None:
    builder, placed = filled(phantoms[:1], [3], shape=(8, 64, 64))
    assert len(placed) == 0
    assert placed.positions.shape == (0, 3)
    assert placed.rotations.shape == (0, 3, 3)
    assert not builder.density.any()


def test_whole_particles_stay_off_the_sides(phantoms: list[Template]) -> None:
    builder, placed = filled(phantoms, [10, 10, 10], shape=(40, 48, 48))
    faces = [builder.occupancy.take(i, axis=axis) for axis in range(3) for i in (0, -1)]
    assert len(placed) > 0
    assert not any(face.any() for face in faces)


def test_a_periodic_slab_wraps_its_particles_around_the_sides_but_never_in_z(phantoms: list[Template]) -> None:
    builder, placed = filled(phantoms[:1], [40], shape=(40, 32, 32), periodic=True)
    assert builder.density.sum() * VOXEL_SIZE**3 / 1000 == pytest.approx(len(placed) * phantoms[0].mass_kda, rel=0.02)
    assert not builder.occupancy[[0, -1]].any()
    for number, position in enumerate(placed.positions, start=1):
        offset = np.argwhere(builder.occupancy == number) - position
        offset[:, 1:] = (offset[:, 1:] + 16) % 32 - 16
        assert np.abs(offset.mean(axis=0)).max() < 0.4
    wrapped = [n for n in builder.occupancy[:, :, 0].ravel() if n > 0 and n in builder.occupancy[:, :, -1]]
    assert wrapped


def test_a_seed_fixes_the_slab(phantoms: list[Template]) -> None:
    (one, placed), (same, again), (other, _) = (filled(phantoms, [3, 3, 3], seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.density, same.density)
    assert np.array_equal(placed.positions, again.positions)
    assert not np.array_equal(one.density, other.density)


def test_what_has_no_label_is_no_particle(phantoms: list[Template]) -> None:
    builder, placed = filled(phantoms, [3, 3, 3])
    before = builder.occupancy.copy()
    builder.add_particles(phantoms[:1], [4], label=False)
    changed = builder.occupancy != before
    assert set(np.unique(builder.occupancy[changed])) == {STRANGER}
    assert not before[changed].any()
    assert np.array_equal(builder.finish(placed).density.numpy(), builder.density)

import numpy as np
import pytest
import torch
from torch import Tensor

from picker_training.detectors.assignment import PEAK_SIGMA_CELLS, REACH_CELLS, Targets, assign
from picker_training.detectors.base import cell_centres

CPU = torch.device("cpu")
CUBE = (16, 24, 32)


def targets(positions: list[list[float]], class_ids: list[int], *, halo: int = 0) -> Targets:
    places = torch.tensor(positions, dtype=torch.float32).reshape(-1, 3)
    return assign([places], [torch.tensor(class_ids, dtype=torch.int64)], CUBE, halo=halo, stride=2, device=CPU)


def own_cells(made: Targets) -> list[list[int]]:
    return (made.objectness[0] == 1.0).nonzero().tolist()


def test_a_cell_s_centre_lies_between_its_two_voxels() -> None:
    centres = cell_centres((2, 3, 4), 2, CPU)
    assert centres.shape == (2, 3, 4, 3)
    assert centres[1, 2, 3].tolist() == [2.5, 4.5, 6.5]


@pytest.mark.parametrize(
    ("position", "cell"),
    [
        ([8.0, 8.0, 8.0], [4, 4, 4]),
        ([9.4, 9.0, 7.6], [4, 4, 4]),
        ([9.6, 7.4, -0.4], [5, 3, 0]),  # a voxel reaches half a voxel around its centre
        ([0.0, 23.0, 31.4], [0, 11, 15]),
    ],
)
def test_a_particle_s_own_cell_is_the_one_it_lies_in(position: list[float], cell: list[int]) -> None:
    assert own_cells(targets([position], [0])) == [cell]


def test_offsets_decode_to_the_position() -> None:
    positions = torch.from_numpy(np.random.default_rng(0).uniform(1.0, 14.0, (1, 3)))
    made = targets(positions.tolist(), [0])
    decoded = (cell_centres((8, 12, 16), 2, CPU) + made.offset[0].permute(1, 2, 3, 0))[made.near[0] > 0]
    assert len(decoded) == 27
    assert decoded.numpy() == pytest.approx(np.tile(positions.numpy(), (27, 1)), abs=1e-5)


def test_the_offset_of_the_own_cell_stays_within_it() -> None:
    positions = np.random.default_rng(1).uniform(0.0, 15.0, (30, 3))
    for position in positions:
        made = targets([position.tolist()], [0])
        ((z, y, x),) = own_cells(made)
        assert made.offset[0, :, z, y, x].abs().max() <= 1.0


@pytest.mark.parametrize("count", [3, 40])
def test_every_own_cell_is_exactly_one(count: int) -> None:
    rng = np.random.default_rng(2)
    positions = rng.uniform(0.0, 90.0, (count, 3))
    places, classes = torch.from_numpy(positions).float(), torch.zeros(count, dtype=torch.int64)
    made = assign([places], [classes], (96, 96, 96), halo=0, stride=2, device=CPU)
    wanted = {tuple(cell) for cell in np.floor((positions + 0.5) / 2).astype(int).tolist()}
    assert {tuple(cell) for cell in own_cells(made)} == wanted


def test_objectness_falls_as_a_gaussian_around_the_own_cell() -> None:
    made = targets([[8.0, 8.0, 8.0]], [0])
    row = made.objectness[0, 4, 4].numpy()
    assert row == pytest.approx(np.exp(-((np.arange(16) - 4.0) ** 2) / (2 * PEAK_SIGMA_CELLS**2)), abs=1e-6)


def test_the_nearest_particle_wins_a_cell() -> None:
    made = targets([[8.0, 8.0, 6.0], [8.0, 8.0, 14.0]], [1, 2])
    assert made.class_ids[0, 4, 4, :5].tolist() == [1] * 5
    assert made.class_ids[0, 4, 4, 5:10].tolist() == [2] * 5
    assert made.offset[0, 2, 4, 4, 4] == pytest.approx(6.0 - 8.5)
    assert made.offset[0, 2, 4, 4, 5] == pytest.approx(14.0 - 10.5)


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("count", [1, 60])
def test_targets_are_those_of_distances_to_all_particles(count: int, stride: int) -> None:
    rng = np.random.default_rng(count)
    positions, classes = rng.uniform(-3.0, 50.0, (count, 3)).astype(np.float32), rng.integers(0, 12, count)
    shape = (40 // stride, 48 // stride, 32 // stride)
    made = assign(
        [torch.from_numpy(positions)], [torch.from_numpy(classes)], (40, 48, 32), halo=0, stride=stride, device=CPU
    )
    own = np.floor((positions + 0.5) / stride)
    cells = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    from_own = np.linalg.norm(cells[..., None, :] - own, axis=-1).min(axis=-1)
    assert made.objectness[0].numpy() == pytest.approx(np.exp(-(from_own**2) / (2 * PEAK_SIGMA_CELLS**2)), abs=1e-5)
    near = from_own <= REACH_CELLS
    assert np.array_equal(made.near[0].numpy() > 0, near)
    to_all = positions - (cells * stride + (stride - 1) / 2)[near][:, None]
    nearest = np.linalg.norm(to_all, axis=-1).argmin(axis=-1)
    assert np.array_equal(made.class_ids[0].numpy()[near], classes[nearest])
    wanted = np.take_along_axis(to_all, nearest[:, None, None], axis=1)[:, 0]
    assert made.offset[0].permute(1, 2, 3, 0).numpy()[near] == pytest.approx(wanted, abs=1e-4)


def test_of_two_particles_in_one_place_the_first_is_learnt() -> None:
    made = targets([[8.0, 8.0, 8.0]] * 3, [3, 1, 2])
    assert set(made.class_ids[0][made.near[0] > 0].tolist()) == {3}


def test_only_the_cells_around_a_particle_learn_class_and_offset() -> None:
    made = targets([[8.0, 8.0, 8.0]], [0])
    near = (made.near[0] > 0).nonzero()
    assert len(near) == 27
    assert near.min(dim=0).values.tolist() == [3, 3, 3]
    assert near.max(dim=0).values.tolist() == [5, 5, 5]


def test_the_halo_does_not_count() -> None:
    made = targets([[8.0, 8.0, 8.0]], [0], halo=4)
    assert made.counts.sum() == (8 - 4) * (12 - 4) * (16 - 4)
    assert made.counts[0, 2, 2, 2] == 1.0
    assert made.counts[0, 1, 2, 2] == made.counts[0, 2, -2, 2] == made.counts[0, 2, 2, 1] == 0.0
    assert targets([], []).counts.min() == 1.0


def test_an_empty_cube_has_nothing_to_learn_but_emptiness() -> None:
    made = targets([], [])
    for tensor in (made.objectness, made.near, made.offset, made.class_ids):
        assert not tensor.any()
    assert made.class_ids.dtype == torch.int64
    assert made.offset.shape == (1, 3, 8, 12, 16)


def test_a_particle_beyond_the_cube_still_casts_its_flank() -> None:
    made = targets([[8.0, 8.0, -1.5]], [2])
    assert own_cells(made) == []
    assert 0.5 < float(made.objectness[0, 4, 4, 0]) < 1.0
    assert int(made.class_ids[0, 4, 4, 0]) == 2


def test_cubes_of_a_batch_stay_apart() -> None:
    def classes(n: int) -> Tensor:
        return torch.zeros(n, dtype=torch.int64)

    places = [torch.tensor([[8.0, 8.0, 8.0]]), torch.zeros(0, 3), torch.tensor([[2.0, 2.0, 2.0]])]
    made = assign(places, [classes(1), classes(0), classes(1)], CUBE, halo=0, stride=2, device=CPU)
    assert (made.objectness == 1.0).nonzero().tolist() == [[0, 4, 4, 4], [2, 1, 1, 1]]


def test_cells_in_an_ignored_ball_do_not_count() -> None:
    none = [torch.zeros(0, 3)] * 2
    classes = [torch.zeros(0, dtype=torch.int64)] * 2
    balls = [torch.tensor([[8.0, 10.0, 12.0, 5.0]]), torch.zeros(0, 4)]
    made = assign(none, classes, (24, 24, 24), halo=0, ignored=balls, stride=2, device=CPU)
    centres = cell_centres((12, 12, 12), 2, CPU)
    inside = (centres - balls[0][0, :3]).norm(dim=-1) < 5.0
    assert inside.sum() > 50
    assert torch.equal(made.counts[0], (~inside).float())
    assert made.counts[1].all()


def test_a_particle_may_be_learnt_in_its_own_cell_alone() -> None:
    places, classes = [torch.tensor([[8.0, 8.0, 8.0], [3.0, 20.0, 30.0]])], [torch.tensor([1, 2])]
    made = assign(places, classes, CUBE, halo=0, stride=2, own_cell=True, device=CPU)
    wide = assign(places, classes, CUBE, halo=0, stride=2, device=CPU)
    assert own_cells(made) == own_cells(wide) == [[1, 10, 15], [4, 4, 4]]
    assert float(made.objectness.sum()) == float(made.near.sum()) == 2.0
    assert torch.equal(made.offset, wide.offset)


def test_cells_with_unknown_voxels_do_not_count() -> None:
    unknown = torch.zeros(1, *CUBE, dtype=torch.bool)
    unknown[0, 5, 6, 9] = True
    made = assign(
        [torch.zeros(0, 3)], [torch.zeros(0, dtype=torch.int64)], CUBE, halo=0, stride=2, unknown=unknown, device=CPU
    )
    assert (made.counts == 0).nonzero().tolist() == [[0, 2, 3, 4]]

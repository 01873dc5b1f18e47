import numpy as np
import pytest
import torch
from torch import Tensor

from picker_training.detectors.assignment import Targets, assign
from picker_training.detectors.base import cell_centres
from picker_training.detectors.task_aligned import ALPHA, BETA, CELLS, LEAST_SIMILARITY, realign

CPU = torch.device("cpu")
CUBE = (16, 16, 24)
GRID = (8, 8, 12)
DIAMETERS = (8.0, 12.0)


def realigned(
    positions: list[list[float]], class_ids: list[int], *, scores: Tensor | None = None, offset: Tensor | None = None
) -> Targets:
    places = [torch.tensor(positions, dtype=torch.float32).reshape(-1, 3)]
    classes = [torch.tensor(class_ids, dtype=torch.int64)]
    targets = assign(places, classes, CUBE, halo=4, stride=2, device=CPU)
    scores = torch.full((1, 2, *GRID), 0.01) if scores is None else scores
    offset = torch.zeros(1, 3, *GRID) if offset is None else offset
    return realign(targets, scores, offset, places, classes, torch.tensor(DIAMETERS), 2)


def similarity(position: list[float], predicted: Tensor, radius: float) -> Tensor:
    return torch.exp(-((predicted - torch.tensor(position)) ** 2).sum(dim=-1) / (2 * radius**2))


def test_an_untrained_network_learns_a_particle_in_the_cells_nearest_to_it() -> None:
    position = [8.3, 8.1, 10.2]
    made = realigned([position], [0])
    near = similarity(position, cell_centres(GRID, 2, CPU), DIAMETERS[0] / 2)
    chosen = made.near[0] > 0
    assert int(chosen.sum()) == CELLS
    assert float(near[chosen].min()) >= float(near[~chosen].max())
    assert torch.equal(made.near, made.objectness)
    wanted = near[chosen] ** BETA / float(near.max()) ** BETA * near.max()
    assert made.objectness[0][chosen].numpy() == pytest.approx(wanted.numpy(), rel=1e-4)
    decoded = cell_centres(GRID, 2, CPU) + made.offset[0].movedim(0, -1)
    assert decoded[chosen].numpy() == pytest.approx(np.tile(position, (CELLS, 1)), abs=1e-5)


def test_cells_sure_of_the_class_are_chosen_before_others() -> None:
    position = [8.5, 8.5, 10.5]
    scores = torch.full((1, 2, *GRID), 1e-4)
    sure = torch.zeros(GRID, dtype=torch.bool)
    sure[3:6, 3:6, 4:7] = True
    sure[4, 4, 5] = False  # the particle's own cell, sure of nothing
    scores[0, 1, sure] = 0.9
    made = realigned([position], [1], scores=scores)
    chosen = made.near[0] > 0
    assert not bool(chosen[4, 4, 5])
    assert int((chosen & sure).sum()) == CELLS
    scores[0, 0], scores[0, 1] = scores[0, 1].clone(), 1e-4  # sure of another class: that is no reason
    assert bool(realigned([position], [1], scores=scores).near[0, 4, 4, 5] > 0)


def test_cells_that_say_where_the_particle_is_are_chosen_wherever_they_lie() -> None:
    position = [4.0, 4.0, 4.0]
    centres = cell_centres(GRID, 2, CPU)
    offset = torch.zeros(1, 3, *GRID)
    offset[0, :, 7, 7, 11] = torch.tensor(position) - centres[7, 7, 11]
    made = realigned([position], [0], offset=offset)
    assert float(made.objectness[0, 7, 7, 11]) == pytest.approx(1.0)
    assert float(made.objectness.max()) == pytest.approx(1.0)


def predicting(places: dict[tuple[int, int, int], list[float]], elsewhere: list[float]) -> Tensor:
    """Return offsets by which some cells point at places of their own, all others at one place."""
    centres = cell_centres(GRID, 2, CPU)
    offset = (torch.tensor(elsewhere) - centres).movedim(-1, 0).unsqueeze(0)
    for cell, place in places.items():
        offset[(0, slice(None), *cell)] = torch.tensor(place) - centres[cell]
    return offset


@pytest.mark.parametrize(("near", "wanted"), [(0.06, CELLS), (0.04, 1)])
def test_cells_too_far_off_are_not_chosen_however_few_there_are(near: float, wanted: int) -> None:
    away = DIAMETERS[0] / 2 * float(np.sqrt(-2 * np.log(near)))
    offset = predicting({(4, 4, 5): [8.0, 8.0, 10.0]}, [8.0, 8.0, 10.0 + away])
    made = realigned([[8.0, 8.0, 10.0]], [0], offset=offset)
    assert int((made.near > 0).sum()) == wanted
    assert float(made.near[0, 4, 4, 5]) == pytest.approx(1.0)
    assert LEAST_SIMILARITY == 0.05
    assert ALPHA == 1.0


def test_a_cell_that_another_particle_wants_more_is_worth_what_it_is_to_its_own() -> None:
    one, other = [8.0, 8.0, 8.0], [8.0, 8.0, 12.0]
    offset = predicting({(4, 4, 4): one, (4, 4, 5): [8.0, 8.0, 9.3]}, [8.0, 8.0, 60.0])
    scores = torch.full((1, 2, *GRID), 0.9)
    scores[0, 0, 4, 4, 5] = 0.01  # it takes itself for the other particle, but says a place nearer to this one
    made = realigned([one, other], [0, 1], scores=scores, offset=offset)
    assert int(made.class_ids[0, 4, 4, 5]) == 0
    similar = np.exp(-(1.3**2) / (2 * (DIAMETERS[0] / 2) ** 2))
    assert float(made.objectness[0, 4, 4, 5]) == pytest.approx(0.01 * similar**BETA / 0.9, rel=1e-3)


def test_a_cell_serves_the_particle_that_it_is_nearer_to() -> None:
    one, other = [8.0, 8.0, 8.0], [8.0, 8.0, 11.0]
    made = realigned([one, other], [0, 1])
    x = torch.arange(12) * 2 + 0.5
    row, classes, offset = made.near[0, 4, 4], made.class_ids[0, 4, 4], made.offset[0, 2, 4, 4]
    assert (row > 0).sum() >= 3
    for i in (row > 0).nonzero().flatten().tolist():
        places = {0: 8.0, 1: 11.0}
        near = [np.exp(-((float(x[i]) - places[c]) ** 2) / (2 * (DIAMETERS[c] / 2) ** 2)) for c in (0, 1)]
        assert int(classes[i]) == int(np.argmax(near))
        assert float(offset[i]) == pytest.approx(places[int(classes[i])] - float(x[i]))


def test_what_counts_stays_and_an_empty_cube_stays_empty() -> None:
    made = realigned([], [])
    assert not made.objectness.any()
    assert not made.near.any()
    assert made.offset.shape == (1, 3, *GRID)
    assert int(made.counts.sum()) == 4 * 4 * 8

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from picker_training.detectors.options import MENDED, PaperOptions
from picker_training.detectors.paper_assignment import BoxTargets, assign_boxes
from picker_training.detectors.paper_boxes import RawPrediction, decode_boxes
from picker_training.loading import Batch

CELLS, STRIDE, HALO = (6, 6, 6), 4, 4
PUBLISHED = PaperOptions(anchors=(6.0, 12.0))
OWN_CELL = replace(PUBLISHED, own_cell=True)
SIZES = torch.tensor([6.0, 11.0])


def untrained() -> RawPrediction:
    """Return what says the middle of every cell and the sizes of the anchors."""
    return RawPrediction.of(torch.zeros(1, 2, 5 + 2, *CELLS))


def batch(positions: list[list[float]], class_ids: list[int], **more: object) -> Batch:
    cube = torch.zeros(1, 1, *(STRIDE * n for n in CELLS))
    points = torch.tensor(positions, dtype=torch.float32).reshape(-1, 3)
    return Batch(cube, [points], [torch.tensor(class_ids, dtype=torch.int64)], **more)  # type: ignore[arg-type]


def assign(
    given: Batch, raw: RawPrediction | None = None, options: PaperOptions = PUBLISHED, sizes: Tensor = SIZES
) -> BoxTargets:
    boxes = decode_boxes(raw or untrained(), torch.tensor(options.anchors), STRIDE)
    return assign_boxes(given, boxes, sizes, options, halo=HALO, stride=STRIDE)


def places(targets: BoxTargets) -> list[tuple[int, ...]]:
    """Return anchor and cell of each positive."""
    shape = (2, *CELLS)
    return [tuple(int(i) for i in np.unravel_index(int(p), shape)) for p in targets.positive]


def test_a_particle_is_learnt_by_the_prediction_that_overlaps_it_most() -> None:
    """The cell of (9, 10, 14) holds voxels 8 to 11, 8 to 11 and 12 to 15; its corner is (7.5, 7.5, 11.5)."""
    targets = assign(batch([[9.0, 10.0, 14.0], [13.5, 13.5, 9.5]], [0, 1]))
    assert places(targets) == [(0, 2, 2, 3), (1, 3, 3, 2)]
    assert targets.offset.tolist() == [[0.375, 0.625, 0.625], [0.5, 0.5, 0.5]]
    assert targets.size.tolist() == pytest.approx([0.0, np.log(11 / 12)])
    assert targets.class_ids.tolist() == [0, 1]


def test_as_published_a_neighbour_that_overlaps_more_learns_the_place_in_the_particle_s_own_cell() -> None:
    raw = untrained()
    raw.offset[0, 0, 2, 2, 2, 3] = 5.0  # the own cell says its far side
    raw.offset[0, 0, 2, 2, 2, 2] = 5.0  # the neighbour says that it is at its border: 1.0 from the particle
    given = batch([[9.5, 9.5, 12.0]], [0])
    published = assign(given, raw)
    assert places(published) == [(0, 2, 2, 2)]
    assert published.offset[0].tolist() == [0.5, 0.5, 0.125]
    mended = assign(given, raw, OWN_CELL)
    assert places(mended) == [(0, 2, 2, 3)]
    assert mended.offset[0].tolist() == [0.5, 0.5, 0.125]


def test_in_its_own_cell_the_anchor_most_like_it_learns_a_particle() -> None:
    given = batch([[9.5, 9.5, 9.5], [17.5, 17.5, 17.5]], [0, 1])
    assert places(assign(given, options=OWN_CELL)) == [(0, 2, 2, 2), (1, 4, 4, 4)]


def test_a_particle_that_no_box_overlaps_is_learnt_in_its_own_cell() -> None:
    raw = untrained()
    raw.size.fill_(-20.0)
    targets = assign(batch([[11.4, 11.4, 11.4]], [0]), raw, sizes=torch.tensor([1.0, 11.0]))
    assert places(targets) == [(0, 2, 2, 2)]


def test_what_overlaps_by_more_than_a_third_is_no_background() -> None:
    """Boxes of 6 in neighbouring cells are 4 voxels from it and overlap by 0.2, of 12 by its whole edge, 0.125."""
    targets = assign(batch([[9.5, 9.5, 9.5]], [0]))
    small, large = targets.background[0]
    assert not small[2, 2, 2]
    assert small[2, 2, 3]
    assert large[2, 2, 2]
    raw = untrained()
    raw.offset[0, 0, 2, 2, 2, 3] = -3.0  # now 2.19 from it: 3.81 / 8.19 = 0.465
    near = assign(batch([[9.5, 9.5, 9.5]], [0]), raw)
    assert not near.background[0, 0, 2, 2, 3]
    assert places(near) == [(0, 2, 2, 2)]
    assert int(near.background.sum()) == int(targets.background.sum()) - 1


def test_a_positive_is_no_background_however_little_it_overlaps() -> None:
    targets = assign(batch([[11.4, 11.4, 11.4]], [0]))
    assert not targets.background[(0, *places(targets)[0])]


def test_cells_in_the_padding_are_left_out_unless_the_public_code_is_followed() -> None:
    empty = batch([], [])
    left_out = assign(empty).background
    assert int(left_out.sum()) == 2 * 4**3
    assert bool(left_out[:, :, 1:-1, 1:-1, 1:-1].all())
    code = assign(empty, options=replace(PUBLISHED, padding_left_out=False)).background
    assert int(code.sum()) == 2 * 6**3


def test_particles_in_the_padding_are_not_learnt_and_guard_their_neighbours_only_if_asked() -> None:
    """At z = 3 its cell is padding; a prediction of the cell below the core says 4.5, and overlaps it by 0.6."""
    raw = untrained()
    raw.offset[0, 0, 0, 1, 2, 2] = -20.0
    given = batch([[3.0, 9.5, 9.5]], [0])
    published = assign(given, raw)
    assert len(published.positive) == 0
    assert published.background[0, 0, 1, 2, 2]
    guarded = assign(given, raw, replace(PUBLISHED, padding_particles_ignored=True))
    assert len(guarded.positive) == 0
    assert not guarded.background[0, 0, 1, 2, 2]


def test_a_prediction_that_is_left_out_learns_no_particle() -> None:
    """The padding's cell says 3.5, the particle is at 4.0, its own cell says 7.5."""
    raw = untrained()
    raw.offset[0, 0, 0, 0, 2, 2] = 20.0
    raw.offset[0, 0, 0, 1, 2, 2] = 20.0
    given = batch([[4.0, 9.5, 9.5]], [0])
    assert places(assign(given, raw, replace(PUBLISHED, padding_left_out=False))) == [(0, 0, 2, 2)]
    assert places(assign(given, raw))[0][1] == 1


def test_of_two_particles_with_one_prediction_the_later_is_learnt() -> None:
    targets = assign(batch([[9.0, 9.5, 9.5], [10.0, 9.5, 9.5]], [0, 0]))
    assert places(targets) == [(0, 2, 2, 2)]
    assert float(targets.offset[0, 0]) == 0.625


@pytest.mark.parametrize("options", [PUBLISHED, replace(MENDED, anchors=(6.0, 12.0))])
def test_nothing_is_learnt_where_nothing_is_known(options: PaperOptions) -> None:
    unknown = torch.zeros(1, 24, 24, 24, dtype=torch.bool)
    unknown[0, 8, 8, 8] = True
    given = batch([[9.5, 9.5, 9.5], [13.5, 13.5, 13.5], [17.5, 9.5, 9.5]], [0, 0, 0], unknown=unknown)
    targets = assign(replace(given, ignored=[torch.tensor([[13.5, 13.5, 13.5, 1.0]])]), options=options)
    assert places(targets) == [(0, 4, 2, 2)]
    assert not targets.background[:, :, 2, 2, 2].any()
    assert not targets.background[:, :, 3, 3, 3].any()


def test_each_cube_has_its_own_particles() -> None:
    two = Batch(
        torch.zeros(2, 1, 24, 24, 24), [torch.zeros(0, 3), torch.tensor([[9.5, 9.5, 9.5]])],
        [torch.zeros(0, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)],
    )  # fmt: skip
    raw = RawPrediction.of(torch.zeros(2, 2, 5 + 2, *CELLS))
    targets = assign(two, raw)
    assert targets.positive.tolist() == [2 * 6**3 + (2 * 6 + 2) * 6 + 2]
    assert int(targets.background[0].sum()) == 2 * 4**3
    assert int(targets.background[1].sum()) == 2 * 4**3 - 1


def said(targets: BoxTargets, count: int) -> Tensor:
    """Return the head's output that says what the targets ask for."""
    head = torch.zeros(2 * CELLS[0] * CELLS[1] * CELLS[2], 5 + count)
    head[:, 4] = -20.0
    head[targets.positive, :3] = torch.logit(targets.offset.clamp(1e-6, 1 - 1e-6))
    head[targets.positive, 3] = targets.size
    head[targets.positive, 4] = 20.0
    head[targets.positive, 5 + targets.class_ids] = 20.0
    return head.reshape(1, 2, *CELLS, 5 + count).movedim(-1, 2)


def test_what_the_assignment_asks_for_decodes_to_the_particles() -> None:
    """Targets as the prediction give back every particle exactly, as long as each is learnt in its own cell."""
    from picker_training.detectors.paper import PaperDetector

    rng = np.random.default_rng(0)
    grid = np.array([[z, y, x] for z in (6, 15) for y in (6, 15) for x in (6, 15)], np.float32)
    positions = grid + rng.uniform(-1.4, 1.4, grid.shape).astype(np.float32)
    class_ids = [0, 0, 1, 0, 0, 0, 1, 0]
    options = replace(MENDED, anchors=(6.0, 12.0), width=2, blocks=(0,) * 5)
    targets = assign(batch(positions.tolist(), class_ids), options=options)
    found = PaperDetector(2, options).cells(RawPrediction.of(said(targets, 2)))
    kept = found.scores[0] > 0.9
    centers = found.centers[0].permute(1, 2, 3, 0)[kept]
    order = torch.cdist(torch.from_numpy(positions), centers).argmin(dim=1)
    assert int(kept.sum()) == len(grid)
    assert centers[order].numpy() == pytest.approx(positions, abs=1e-4)
    assert found.class_ids[0][kept][order].tolist() == class_ids
    assert found.diameters is not None
    assert found.diameters[0][kept][order].numpy() == pytest.approx(SIZES[class_ids].numpy(), rel=1e-5)

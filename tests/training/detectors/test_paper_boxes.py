import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from picker_training.detectors.paper_boxes import OVERLAP, RawPrediction, decode_boxes, keep_peaks, overlap

ORIGIN = torch.zeros(3)


def iou(edge: float, other_edge: float, shift: tuple[float, float, float]) -> float:
    return float(overlap(ORIGIN, torch.tensor(edge), torch.tensor(shift), torch.tensor(other_edge)))


@pytest.mark.parametrize(
    ("edge", "other", "shift", "wanted"),
    [
        (6.0, 6.0, (0.0, 0.0, 0.0), 1.0),
        (6.0, 6.0, (0.0, 3.0, 0.0), 1 / 3),  # half an edge on one axis
        (6.0, 6.0, (3.0, 3.0, 0.0), 54 / (432 - 54)),
        (4.0, 8.0, (0.0, 0.0, 0.0), 64 / 512),
        (4.0, 8.0, (0.0, 0.0, -4.0), 32 / (64 + 512 - 32)),
        (6.0, 6.0, (0.0, 6.0, 0.0), 0.0),
        (6.0, 6.0, (9.0, 9.0, 0.0), 0.0),  # two negative edges are no overlap
    ],
)
def test_overlap_by_hand(edge: float, other: float, shift: tuple[float, float, float], wanted: float) -> None:
    assert iou(edge, other, shift) == pytest.approx(wanted, abs=1e-6)
    assert iou(other, edge, shift) == pytest.approx(wanted, abs=1e-6)


def raw(cells: tuple[int, int, int], anchors: int = 2) -> RawPrediction:
    return RawPrediction.of(torch.zeros(1, anchors, 5 + 3, *cells))


def test_a_box_lies_in_its_cell_and_is_a_multiple_of_its_anchor() -> None:
    prediction = raw((2, 3, 4))
    prediction.offset[0, 1, :, 1, 2, 3] = torch.tensor([-50.0, 0.0, 50.0])
    prediction.size[0, 1, 1, 2, 3] = float(np.log(1.5))
    centres, edges = decode_boxes(prediction, torch.tensor([6.0, 10.0]), 4)
    assert centres[0, 0, :, 0, 0, 0].tolist() == [1.5, 1.5, 1.5]  # the middle of voxels 0 to 3
    assert centres[0, 1, :, 1, 2, 3].tolist() == pytest.approx([3.5, 9.5, 15.5])
    assert float(edges[0, 1, 1, 2, 3]) == pytest.approx(15.0)
    assert float(edges[0, 0, 0, 0, 0]) == 6.0


def test_a_network_that_diverges_has_finite_boxes() -> None:
    prediction = raw((1, 1, 1))
    prediction.size.fill_(1e6)
    _, edges = decode_boxes(prediction, torch.tensor([6.0, 10.0]), 4)
    assert torch.isfinite(overlap(ORIGIN, edges, ORIGIN, edges)).all()


def peaks(found: dict[tuple[int, int, int], tuple[float, float, tuple[float, float, float]]]) -> torch.Tensor:
    """Return the scores that are kept of boxes by cell: a score, an edge and where in the cell of 4 voxels it is."""
    scores, edges, centres = torch.zeros(1, 5, 5, 5), torch.ones(1, 5, 5, 5), torch.zeros(1, 3, 5, 5, 5)
    for cell, (score, edge, place) in found.items():
        scores[(0, *cell)], edges[(0, *cell)] = score, edge
        centres[(0, slice(None), *cell)] = torch.tensor([4.0 * c + p for c, p in zip(cell, place, strict=True)])
    kept = keep_peaks(scores, centres, edges)[0]
    return torch.stack([kept[cell] for cell in found])


MIDDLE = (2.0, 2.0, 2.0)


@pytest.mark.parametrize("beside", [(2, 2, 3), (1, 2, 2), (1, 3, 1), (3, 3, 3), (2, 1, 2)])
def test_of_boxes_that_overlap_in_neighbouring_cells_the_better_stays(beside: tuple[int, int, int]) -> None:
    assert peaks({(2, 2, 2): (0.9, 16.0, MIDDLE), beside: (0.8, 16.0, MIDDLE)}).tolist() == pytest.approx([0.9, 0.0])
    assert peaks({(2, 2, 2): (0.7, 16.0, MIDDLE), beside: (0.8, 16.0, MIDDLE)}).tolist() == pytest.approx([0.0, 0.8])


def test_a_box_that_falls_makes_none_fall() -> None:
    """Three in a row, each overlapping the next: the second falls to the first, so the third stays, as greedily."""
    row = [(2, 2, x) for x in range(5)]
    chain = {cell: (0.9 - 0.1 * x, 7.0, MIDDLE) for x, cell in enumerate(row)}
    assert peaks(dict(list(chain.items())[:3])).tolist() == pytest.approx([0.9, 0.0, 0.7])
    assert peaks(chain).tolist() == pytest.approx([0.9, 0.0, 0.7, 0.0, 0.5])


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), filled=st.floats(0.05, 0.4))
def test_it_is_greedy_suppression_among_neighbours(seed: int, filled: float) -> None:
    rng = np.random.default_rng(seed)
    shape = (4, 5, 6)
    scores = np.where(rng.random(shape) < filled, rng.permutation(np.linspace(0.1, 0.9, 120)).reshape(shape), 0.0)
    edges = rng.uniform(4, 9, shape)
    centres = np.stack(np.meshgrid(*(4.0 * np.arange(n) for n in shape), indexing="ij")) + rng.uniform(
        0, 4, (3, *shape)
    )
    tensors = [torch.tensor(a[None], dtype=torch.float32) for a in (scores, centres, edges)]
    found = keep_peaks(*tensors)[0].numpy()
    wanted = np.zeros(shape)
    for flat in np.argsort(-scores, axis=None):
        cell = np.unravel_index(flat, shape)
        stronger = [tuple(other) for other in np.argwhere(wanted > 0) if np.abs(np.subtract(other, cell)).max() == 1]
        at = (slice(None), *cell)
        overlaps = [
            float(overlap(tensors[1][0][at], tensors[2][0][cell], tensors[1][0][(slice(None), *o)], tensors[2][0][o]))
            for o in stronger
        ]
        if scores[cell] > 0 and not any(value > OVERLAP for value in overlaps):
            wanted[cell] = scores[cell]
    assert set(zip(*np.nonzero(wanted), strict=True)) <= set(zip(*np.nonzero(found), strict=True))
    assert np.sum((found > 0) != (wanted > 0)) <= 2  # chains of more than four boxes


def test_small_particles_in_touch_are_both_kept() -> None:
    assert peaks({(2, 2, 2): (0.9, 6.0, (2.0, 2.0, 0.5)), (2, 2, 3): (0.8, 6.0, (2.0, 2.0, 2.0))}).tolist() == (
        pytest.approx([0.9, 0.8])  # 5.5 voxels apart: overlap 18 / (432 - 18) = 0.04
    )
    assert peaks({(2, 2, 2): (0.9, 6.0, MIDDLE), (2, 2, 3): (0.8, 6.0, MIDDLE)}).tolist() == (
        pytest.approx([0.9, 0.0])  # 4 voxels apart: 72 / (432 - 72) = 0.2
    )


def test_what_is_two_cells_away_is_left_to_the_runtime() -> None:
    assert peaks({(2, 2, 2): (0.9, 16.0, MIDDLE), (2, 2, 4): (0.8, 16.0, MIDDLE)}).tolist() == pytest.approx([0.9, 0.8])


def test_a_box_at_the_face_is_kept() -> None:
    assert peaks({(0, 4, 4): (0.3, 16.0, MIDDLE)}).tolist() == pytest.approx([0.3])

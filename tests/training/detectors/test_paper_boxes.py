import numpy as np
import pytest
import torch

from picker_training.detectors.paper_boxes import RawPrediction, decode_boxes, keep_peaks, overlap

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

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from picker_training.augmentation import CLIP
from picker_training.detectors.assignment import assign
from picker_training.detectors.base import Cells
from picker_training.detectors.decode import DecodedDetector, normalise
from picker_training.detectors.options import PointOptions
from picker_training.detectors.point import PointDetector
from picker_training.detectors.prediction import Prediction

DIAMETERS = torch.tensor([6.0, 12.0, 20.0])
CELLS = (8, 10, 12)
SLOTS = 16


class Oracle(PointDetector):
    """A network that says the same whatever it sees, and keeps what it saw."""

    def __init__(self, prediction: Prediction, **options: Any) -> None:
        super().__init__(3, PointOptions(widths=(8, 8, 8), **options))
        self.prediction = prediction
        self.seen = torch.zeros(0)

    def forward(self, cubes: Tensor) -> Prediction:
        self.seen = cubes
        return self.prediction


def nothing() -> Prediction:
    """Return a prediction without a particle: objectness falls from cell to cell, so that the first alone is a peak."""
    falling = -10.0 - torch.arange(float(np.prod(CELLS))).reshape(1, *CELLS) * 0.01
    return Prediction(falling, torch.zeros(1, 3, *CELLS), torch.zeros(1, 3, *CELLS))


def put(prediction: Prediction, cell: tuple[int, int, int], logit: float, class_id: int, offset: list[float]) -> None:
    prediction.objectness[(0, *cell)] = logit
    prediction.classes[(0, class_id, *cell)] = 2.0
    prediction.offset[(0, slice(None), *cell)] = torch.tensor(offset)


def decode(prediction: Prediction) -> list[Tensor]:
    detector = DecodedDetector(Oracle(prediction), DIAMETERS, SLOTS)
    return list(detector(torch.zeros(1, 1, *(2 * n for n in CELLS)), torch.zeros(1), torch.ones(1)))


def cells(prediction: Prediction, **options: Any) -> Cells:
    return Oracle(prediction, **options).cells(prediction)


def test_a_candidate_has_its_cell_s_centre_class_diameter_and_score() -> None:
    prediction = nothing()
    put(prediction, (2, 5, 7), 3.0, 1, [0.25, -0.5, 0.75])
    put(prediction, (6, 1, 3), 1.0, 2, [0.0, 0.0, -1.0])
    centers, diameters, scores, class_ids = decode(prediction)
    best_class = float(np.exp(2.0) / (np.exp(2.0) + 2.0))
    assert centers.shape == (1, SLOTS, 3)
    assert centers[0, :2].numpy() == pytest.approx(np.array([[4.75, 10.0, 15.25], [12.5, 2.5, 5.5]]))
    assert scores[0, :2].numpy() == pytest.approx([best_class / (1 + np.exp(-3.0)), best_class / (1 + np.exp(-1.0))])
    assert class_ids[0, :2].tolist() == [1, 2]
    assert diameters[0, :2].tolist() == [12.0, 20.0]
    assert class_ids.dtype == torch.int32
    assert float(scores[0, 3:].max()) == 0.0  # slots without a candidate; the third is the falling background's peak


def test_scores_come_in_descending_order() -> None:
    prediction = nothing()
    for i, cell in enumerate([(1, 1, 1), (1, 1, 5), (1, 5, 1), (5, 5, 5), (5, 1, 9)]):
        put(prediction, cell, float(i % 3) + 0.1 * i, i % 3, [0.0, 0.0, 0.0])
    scores = decode(prediction)[2][0]
    assert torch.equal(scores, scores.sort(descending=True).values)
    assert int((scores > 0.3).sum()) == 5


def test_only_the_highest_of_27_cells_is_a_candidate() -> None:
    prediction = nothing()
    put(prediction, (4, 4, 4), 2.0, 0, [0.0] * 3)
    put(prediction, (5, 5, 5), 1.9, 0, [0.0] * 3)  # beside it, over a corner
    put(prediction, (4, 4, 2), 1.8, 0, [0.0] * 3)  # two cells away
    scores = cells(prediction).scores
    assert scores[0, 4, 4, 4] > 0
    assert scores[0, 5, 5, 5] == 0
    assert scores[0, 4, 4, 2] > 0


def test_a_peak_at_the_face_counts() -> None:
    prediction = nothing()
    put(prediction, (0, 9, 11), 2.0, 0, [0.0] * 3)
    scores = cells(prediction).scores
    assert float(scores[0, 0, 9, 11]) > 0.5


def test_what_the_assignment_asks_for_decodes_to_the_particles() -> None:
    """Targets as the prediction give back every particle exactly: training and detection speak of the same place."""
    rng = np.random.default_rng(0)
    grid = np.array([[z, y, x] for z in (3, 11) for y in (3, 12) for x in (4, 12, 20)], np.float32)
    positions = torch.from_numpy(grid + rng.uniform(-0.9, 0.9, grid.shape).astype(np.float32))
    class_ids = torch.from_numpy(rng.integers(0, 3, len(grid)))
    cube = (16, 20, 24)
    made = assign([positions], [class_ids], cube, halo=0, stride=2, device=torch.device("cpu"))
    classes = nn.functional.one_hot(made.class_ids, 3).permute(0, 4, 1, 2, 3) * 20.0
    prediction = Prediction(torch.logit(made.objectness.clamp(1e-6, 1 - 1e-6)), classes.float(), made.offset)
    centers, _, scores, found = decode(prediction)
    kept = scores[0] > 0.9
    order = torch.cdist(positions, centers[0, kept]).argmin(dim=1)
    assert int(kept.sum()) == len(grid)
    assert centers[0, kept][order].numpy() == pytest.approx(positions.numpy(), abs=1e-4)
    assert found[0, kept][order].tolist() == class_ids.tolist()


def test_values_are_normalised_per_cube_and_clipped() -> None:
    cubes = torch.tensor([100.0, 110.0, 90.0, 1e6, -1e6, 0.0, 0.0, 0.0]).reshape(1, 1, 2, 2, 2).repeat(2, 1, 1, 1, 1)
    out = normalise(cubes, torch.tensor([100.0, 90.0]), torch.tensor([0.1, -0.1]))
    assert out[0].flatten().tolist()[:5] == pytest.approx([0.0, 1.0, -1.0, CLIP, -CLIP])
    assert out[1].flatten().tolist()[:5] == pytest.approx([-1.0, -2.0, 0.0, -CLIP, CLIP])


def test_the_network_sees_normalised_cubes() -> None:
    oracle = Oracle(nothing())
    detector = DecodedDetector(oracle, DIAMETERS, SLOTS)
    detector(torch.full((1, 1, 16, 20, 24), 7.0), torch.tensor([5.0]), torch.tensor([0.5]))
    assert float(oracle.seen.min()) == float(oracle.seen.max()) == 1.0


def test_a_real_network_decodes_too() -> None:
    torch.manual_seed(0)
    detector = DecodedDetector(PointDetector(3, PointOptions(widths=(8, 8, 8))), DIAMETERS, SLOTS).eval()
    with torch.no_grad():
        centers, diameters, scores, class_ids = detector(torch.randn(2, 1, 16, 16, 24), torch.zeros(2), torch.ones(2))
    assert centers.shape == (2, SLOTS, 3)
    assert diameters.shape == scores.shape == class_ids.shape == (2, SLOTS)


def test_the_cells_around_a_peak_can_decide_its_class_together() -> None:
    prediction = nothing()
    put(prediction, (4, 4, 4), 3.0, 2, [0.0] * 3)
    for cell in [(3, 4, 4), (5, 4, 4), (4, 3, 4)]:  # three of 27 cells are as sure of another class
        prediction.classes[(0, 1, *cell)] = 2.0
    alone, together = cells(prediction), cells(prediction, class_window=3)
    assert int(alone.class_ids[0, 4, 4, 4]) == 2
    assert int(together.class_ids[0, 4, 4, 4]) == 1
    sure, unsure, even = np.exp(2.0) / (np.exp(2.0) + 2), 1 / (np.exp(2.0) + 2), 1 / 3
    assert float(together.scores[0, 4, 4, 4]) == pytest.approx(
        (3 * sure + 1 * unsure + 23 * even) / 27 / (1 + np.exp(-3.0)), rel=1e-5
    )


def test_at_a_face_the_cells_that_are_there_decide() -> None:
    prediction = nothing()
    put(prediction, (0, 0, 0), 3.0, 2, [0.0] * 3)
    sure, even = np.exp(2.0) / (np.exp(2.0) + 2), 1 / 3
    assert float(cells(prediction, class_window=3).scores[0, 0, 0, 0]) == pytest.approx(
        (sure + 7 * even) / 8 / (1 + np.exp(-3.0)), rel=1e-5
    )


def test_where_classes_stand_for_objectness_the_best_of_them_is_the_score() -> None:
    prediction = nothing()
    put(prediction, (4, 4, 4), 2.0, 1, [0.0] * 3)
    found = cells(prediction, objectness="classes")
    assert float(found.scores[0, 4, 4, 4]) == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert int(found.class_ids[0, 4, 4, 4]) == 1

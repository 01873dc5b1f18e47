import math

import pytest
import torch

from picker_training.detectors.paper_assignment import BoxTargets
from picker_training.detectors.paper_boxes import RawPrediction
from picker_training.detectors.paper_loss import paper_loss

CELLS = (2, 2, 2)


def head(cubes: int = 1) -> torch.Tensor:
    return torch.zeros(cubes, 2, 5 + 3, *CELLS)


def targets(background: torch.Tensor | None = None) -> BoxTargets:
    """Return one particle of class 1, learnt by the second anchor in the last cell of the first cube."""
    return BoxTargets(
        positive=torch.tensor([15]), offset=torch.tensor([[0.5, 0.25, 0.75]]), size=torch.tensor([0.2]),
        class_ids=torch.tensor([1]), background=torch.zeros(1, 2, *CELLS) > 0 if background is None else background,
    )  # fmt: skip


def test_each_part_by_hand() -> None:
    values = head()
    values[0, 1, 3, 1, 1, 1] = 0.5  # size
    values[0, 1, 4, 1, 1, 1] = 2.0  # objectness
    values[0, 1, 5:, 1, 1, 1] = torch.tensor([0.0, 1.0, 0.0])
    background = torch.ones(1, 2, *CELLS) > 0
    background.view(-1)[15] = False
    loss = paper_loss(RawPrediction.of(values), targets(background), smooth=False)
    right = math.e / (math.e + 2)
    wrong = 1 / (math.e + 2)
    assert float(loss.parts["object"]) == pytest.approx(math.log(1 + math.exp(-2)))
    assert float(loss.parts["background"]) == pytest.approx(15 * math.log(2))
    assert float(loss.parts["box"]) == pytest.approx(0.25**2 + 0.25**2 + 0.3**2)
    assert float(loss.parts["classes"]) == pytest.approx(-math.log(right) - 2 * math.log(1 - wrong), rel=1e-5)
    parts = {name: float(value) for name, value in loss.parts.items()}
    weighed = parts["object"] + 0.1 * parts["background"] + 5 * parts["box"] + 5 * parts["classes"]
    assert float(loss.total) == pytest.approx(weighed)


def test_the_public_code_s_distance_grows_as_its_length() -> None:
    values = head()
    values[0, 1, 3, 1, 1, 1] = 4.2
    squared, smooth = (paper_loss(RawPrediction.of(values), targets(), smooth=s) for s in (False, True))
    assert float(squared.parts["box"]) == pytest.approx(16.0 + 2 * 0.25**2)
    assert float(smooth.parts["box"]) == pytest.approx(3.5 + 2 * 0.5 * 0.25**2)


def test_the_sums_are_divided_by_the_cubes() -> None:
    background = torch.ones(2, 2, *CELLS) > 0
    one = paper_loss(RawPrediction.of(head(1)), targets(background[:1]), smooth=False)
    two = paper_loss(RawPrediction.of(head(2)), targets(background), smooth=False)
    assert float(two.parts["background"]) == pytest.approx(float(one.parts["background"]))
    for part in ("object", "box", "classes"):  # of the one particle
        assert float(two.parts[part]) == pytest.approx(float(one.parts[part]) / 2)


def test_without_particles_only_the_background_is_learnt() -> None:
    none = BoxTargets(
        torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3), torch.zeros(0), torch.zeros(0, dtype=torch.int64),
        torch.ones(1, 2, *CELLS) > 0,
    )  # fmt: skip
    values = head().requires_grad_()
    loss = paper_loss(RawPrediction.of(values), none, smooth=False)
    loss.total.backward()  # type: ignore[no-untyped-call]
    assert {name: float(v.detach()) for name, v in loss.parts.items() if name != "background"} == {
        "object": 0.0, "box": 0.0, "classes": 0.0,
    }  # fmt: skip
    assert values.grad is not None
    assert torch.isfinite(values.grad).all()


def test_a_class_that_is_certain_has_a_finite_loss() -> None:
    values = head()
    values[0, 1, 5, 1, 1, 1] = 200.0  # certain, and wrong
    values.requires_grad_()
    loss = paper_loss(RawPrediction.of(values), targets(), smooth=False)
    loss.total.backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert torch.isfinite(values.grad).all()
    assert float(loss.parts["classes"].detach()) > 100.0

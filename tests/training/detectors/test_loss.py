from typing import Any

import numpy as np
import pytest
import torch

from picker_training.detectors.assignment import Targets, assign
from picker_training.detectors.base import Loss
from picker_training.detectors.loss import OFFSET_WEIGHT, focal, varifocal
from picker_training.detectors.loss import point_loss as loss_of_head
from picker_training.detectors.options import PointOptions
from picker_training.detectors.point import RARE
from picker_training.detectors.prediction import Prediction

CLASSES = 3
SURE = 12.0


def targets(*, empty: bool = False, halo: int = 0) -> Targets:
    positions = torch.tensor([] if empty else [[8.2, 7.0, 9.9], [3.0, 12.0, 4.0]]).reshape(-1, 3)
    return assign(
        [positions],
        [torch.tensor([2, 1])[: len(positions)]],
        (16, 16, 16),
        halo=halo,
        stride=2,
        device=torch.device("cpu"),
    )


def perfect(made: Targets) -> Prediction:
    """Return the prediction that says exactly what the targets ask for."""
    own = made.objectness == 1.0
    classes = torch.nn.functional.one_hot(made.class_ids, CLASSES).permute(0, 4, 1, 2, 3) * SURE
    return Prediction(torch.where(own, SURE, -SURE), classes.float(), made.offset.clone())


def untrained(made: Targets) -> Prediction:
    shape = made.objectness.shape
    return Prediction(
        torch.full(shape, RARE), torch.zeros(shape[0], CLASSES, *shape[1:]), torch.zeros(shape[0], 3, *shape[1:])
    )


def point_loss(prediction: Prediction, made: Targets, **options: Any) -> Loss:
    return loss_of_head(prediction, made, PointOptions(**options))


def total(loss: Loss) -> float:
    return float(loss.total.detach())


def test_the_right_answer_costs_next_to_nothing() -> None:
    made = targets()
    assert total(point_loss(perfect(made), made)) < 1e-3
    assert total(point_loss(untrained(made), made)) > 1.0


@pytest.mark.parametrize("part", ["objectness", "classes", "offset"])
def test_every_part_costs_on_its_own(part: str) -> None:
    made = targets()
    good, bad = perfect(made), untrained(made)
    mixed = Prediction(*(getattr(bad if name == part else good, name) for name in ("objectness", "classes", "offset")))
    loss = point_loss(mixed, made)
    costs = {name: float(value) for name, value in loss.parts.items()}
    assert costs.pop(part) > 0.1
    assert max(costs.values()) < 1e-3


def test_the_total_weighs_its_parts() -> None:
    made = targets()
    loss = point_loss(untrained(made), made)
    assert total(loss) == pytest.approx(
        float(loss.parts["objectness"])
        + 2.0 * float(loss.parts["classes"])
        + OFFSET_WEIGHT * float(loss.parts["offset"])
    )


def test_an_unsure_class_costs_its_entropy() -> None:
    made = targets()
    assert float(point_loss(untrained(made), made).parts["classes"]) == pytest.approx(np.log(CLASSES), rel=1e-5)


def test_classes_and_offsets_are_weighed_by_how_near_their_cells_are() -> None:
    made, generator = targets(), torch.Generator().manual_seed(4)
    shape = made.objectness.shape
    classes, offset = (torch.randn(1, n, *shape[1:], generator=generator) for n in (CLASSES, 3))
    loss = point_loss(Prediction(torch.zeros(shape), classes, offset), made)
    wanted = torch.softmax(classes, dim=1).gather(1, made.class_ids.unsqueeze(1)).squeeze(1).log()
    apart = (offset - made.offset).abs()
    smooth = torch.where(apart < 1.0, apart**2 / 2, apart - 0.5).sum(dim=1)
    for name, cost in (("classes", -wanted), ("offset", smooth)):
        assert float(loss.parts[name]) == pytest.approx(float((cost * made.near).sum() / made.near.sum()), rel=1e-5)


def test_the_focal_loss_is_that_of_the_formula() -> None:
    made = targets()
    probability = torch.sigmoid(torch.tensor(RARE, dtype=torch.float64))
    own = made.objectness == 1.0
    hits = own.sum() * (1 - probability) ** 2 * torch.log(probability)
    misses = ((1 - made.objectness[~own]) ** 4).sum() * probability**2 * torch.log(1 - probability)
    assert float(point_loss(untrained(made), made).parts["objectness"]) == pytest.approx(
        float(-(hits + misses) / 2), rel=1e-4
    )


def test_cells_beside_a_centre_are_forgiven() -> None:
    made = targets()
    near, far = perfect(made), perfect(made)
    z, y, x = (made.objectness[0] == 1.0).nonzero()[0].tolist()
    near.objectness[0, z, y, x + 1] = 0.0
    far.objectness[0, 0, -1, -1] = 0.0
    assert total(point_loss(far, made)) > 2 * total(point_loss(near, made))


def test_nothing_in_the_halo_costs() -> None:
    made = targets(halo=4)
    good, wrong = perfect(made), perfect(made)
    ring = made.counts == 0
    wrong.objectness[ring] = SURE
    wrong.classes.transpose(0, 1)[:, ring] = 0.0
    wrong.offset.transpose(0, 1)[:, ring] = 9.0
    assert total(point_loss(wrong, made)) == total(point_loss(good, made))


@pytest.mark.parametrize("logit", [RARE, -200.0, 200.0])
def test_it_is_finite_on_an_empty_cube_and_for_any_logit(logit: float) -> None:
    made = targets(empty=True)
    prediction = untrained(made)
    objectness = torch.full_like(prediction.objectness, logit, requires_grad=True)
    loss = point_loss(Prediction(objectness, prediction.classes, prediction.offset), made)
    loss.total.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss.total)
    assert objectness.grad is not None
    assert torch.isfinite(objectness.grad).all()
    assert float(loss.parts["classes"]) == float(loss.parts["offset"]) == 0.0


def test_descent_lowers_it() -> None:
    made = targets()
    start = untrained(made)
    leaves = [t.clone().requires_grad_() for t in (start.objectness, start.classes, start.offset)]
    optimiser = torch.optim.Adam(leaves, lr=0.5)
    costs = []
    for _ in range(40):
        loss = point_loss(Prediction(*leaves), made)
        costs.append(total(loss))
        optimiser.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert costs[-1] < 0.1 * costs[0]


def test_the_weight_of_classes_can_be_chosen() -> None:
    made = targets()
    one, other = point_loss(untrained(made), made), point_loss(untrained(made), made, class_weight=3.0)
    assert total(other) - total(one) == pytest.approx(float(one.parts["classes"]), rel=1e-5)


def test_smoothed_labels_cost_a_sure_answer() -> None:
    made = targets()
    assert float(point_loss(perfect(made), made, label_smoothing=0.3).parts["classes"]) == pytest.approx(
        0.3 * SURE * (CLASSES - 1) / CLASSES, rel=1e-3
    )  # log-probabilities 0 and -SURE; each wrong class is to have a third of 0.3


def test_the_varifocal_loss_is_that_of_the_formula() -> None:
    logits = torch.tensor([0.4, -1.2, 2.0, 0.3])
    wanted, near = torch.tensor([1.0, 0.6, 0.2, 0.9]), torch.tensor([1.0, 0.6, 0.0, 0.9])
    counts = torch.tensor([1.0, 1.0, 1.0, 0.0])
    p = 1 / (1 + np.exp(-logits.numpy().astype(np.float64)))
    first = -np.log(p[0])
    second = -0.6 * (0.6 * np.log(p[1]) + 0.4 * np.log(1 - p[1]))
    far = -0.75 * p[2] ** 2 * np.log(1 - p[2])
    assert float(varifocal(logits, wanted, near, counts)) == pytest.approx((first + second + far) / 1.6, rel=1e-5)


def test_the_focal_loss_takes_only_one_for_a_hit() -> None:
    logits, wanted = torch.tensor([0.4, -1.2]), torch.tensor([1.0, 0.6])
    p = 1 / (1 + np.exp(-logits.numpy().astype(np.float64)))
    hit, miss = -((1 - p[0]) ** 2) * np.log(p[0]), -(0.4**4) * p[1] ** 2 * np.log(1 - p[1])
    assert float(focal(logits, wanted, wanted, torch.ones(2))) == pytest.approx(hit + miss, rel=1e-5)


def test_where_classes_stand_for_objectness_each_learns_its_own_particles() -> None:
    made = targets()
    good, bad = perfect(made), untrained(made)
    own = torch.nn.functional.one_hot(made.class_ids, CLASSES).movedim(-1, 1) * (made.objectness == 1.0).unsqueeze(1)
    classes = torch.where(own > 0, SURE, -SURE)
    right = Prediction(classes.amax(dim=1), classes, good.offset)
    swapped = Prediction(right.objectness, classes.roll(1, dims=1), good.offset)
    loss = point_loss(right, made, objectness="classes")
    assert set(loss.parts) == {"objectness", "offset"}
    assert total(loss) < 1e-3
    assert total(point_loss(swapped, made, objectness="classes")) == pytest.approx(2 * SURE, rel=1e-3)  # miss and hit
    assert total(point_loss(Prediction(right.objectness, classes, bad.offset), made, objectness="classes")) > 0.1


@pytest.mark.parametrize("objectness", ["own", "classes"])
@pytest.mark.parametrize("objectness_loss", ["focal", "varifocal"])
def test_every_choice_is_finite_without_particles_and_nothing_in_the_halo_costs(
    objectness: str, objectness_loss: str
) -> None:
    made = targets(empty=True, halo=4)
    one, other = untrained(made), untrained(made)
    ring = made.counts == 0
    other.objectness[ring] = SURE
    other.classes.transpose(0, 1)[:, ring] = SURE
    costs = [total(point_loss(p, made, objectness=objectness, objectness_loss=objectness_loss)) for p in (one, other)]
    assert np.isfinite(costs).all()
    assert costs[0] == costs[1]

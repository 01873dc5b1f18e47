import numpy as np
import pytest
import torch

from picker_training.detectors.base import cell_centres
from picker_training.detectors.spheres import sphere_loss, sphere_targets

CPU = torch.device("cpu")
LIKE = torch.zeros(2, 8, 8, 10)


def test_a_cell_s_target_is_the_class_whose_sphere_holds_its_centre() -> None:
    places = [torch.tensor([[7.0, 8.0, 9.0]]), torch.zeros(0, 3)]
    made = sphere_targets(
        places, [torch.tensor([1]), torch.zeros(0, dtype=torch.int64)], torch.tensor([4.0, 9.0]), LIKE, 2
    )
    inside = (cell_centres((8, 8, 10), 2, CPU) - places[0]).norm(dim=-1) < 4.5
    assert 20 < int(inside.sum()) < 200
    assert torch.equal(made[0], inside.long() * 2)
    assert not made[1].any()


def test_where_spheres_overlap_the_deeper_one_counts() -> None:
    places = [torch.tensor([[6.5, 6.5, 4.5], [6.5, 6.5, 10.5]])]
    made = sphere_targets(places, [torch.tensor([0, 1])], torch.tensor([6.0, 12.0]), LIKE[:1], 2)
    # along x centres lie at 0.5, 2.5, ...: 4.5 is in the small sphere, 6.5 in both (2/3 of 3 against 4/6 of 6), 8.5 ...
    assert made[0, 3, 3].tolist() == [0, 1, 1, 1, 2, 2, 2, 2, 0, 0]


def test_half_of_the_loss_is_that_of_the_spheres_however_small() -> None:
    inside = torch.zeros(1, 4, 4, 4, dtype=torch.int64)
    inside[0, 1, 1, 1] = 2
    logits = torch.zeros(1, 3, 4, 4, 4)
    counts = torch.ones(1, 4, 4, 4)
    assert float(sphere_loss(logits, inside, counts)) == pytest.approx(np.log(3), rel=1e-5)
    logits[0, 2, 1, 1, 1] = 20.0
    assert float(sphere_loss(logits, inside, counts)) == pytest.approx(np.log(3) / 2, rel=1e-5)
    counts[0] = 0.0
    counts[0, 1, 1, 1] = 1.0
    assert float(sphere_loss(logits, inside, counts)) == pytest.approx(0.0, abs=1e-5)

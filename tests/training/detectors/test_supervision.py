"""What the default detector learns nothing from: halos, ignored balls and unknown voxels, at each of its heads."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from training.detectors.test_point import EXTRAS, TINY, network

from picker_training.detectors.prediction import Prediction
from picker_training.loading import Batch

EDGE = 16


def empty_batch(where: str) -> Batch:
    """Return a cube without particles, perhaps with a ball around voxel 5.5, or with voxel 5 of each axis unknown."""
    unknown = torch.zeros(1, EDGE, EDGE, EDGE, dtype=torch.bool)
    unknown[0, 5, 5, 5] = True
    return Batch(
        torch.zeros(1, 1, EDGE, EDGE, EDGE), [torch.zeros(0, 3)], [torch.zeros(0, dtype=torch.int64)],
        ignored=[torch.tensor([[5.5, 5.5, 5.5, 2.0]])] if where == "ball" else [],
        unknown=unknown if where == "unknown" else None,
    )  # fmt: skip


def blank(edge: int) -> Prediction:
    objectness, classes, offset = (torch.zeros(1, n, edge, edge, edge) for n in (1, 3, 3))
    return Prediction(objectness=objectness[:, 0].requires_grad_(), classes=classes, offset=offset)


def gradient(of: Tensor) -> Tensor:
    assert of.grad is not None
    return of.grad[0]


@pytest.mark.parametrize("where", ["halo", "ball", "unknown"])
def test_nothing_is_learnt_where_nothing_counts(where: str) -> None:
    """Voxel 5 lies in cell 2 of the main head and the spheres, at stride 2, and in cell 1 of the deep one."""
    spheres = torch.zeros(1, 4, EDGE // 2, EDGE // 2, EDGE // 2, requires_grad=True)
    deep = blank(EDGE // 4)
    main = replace(blank(EDGE // 2), deep=deep, spheres=spheres)
    network(replace(TINY, **EXTRAS)).loss(main, empty_batch(where), halo=4 if where == "halo" else 0).total.backward()
    at2, at4 = ((1, 4, 4), (0, 2, 2)) if where == "halo" else ((2, 2, 2), (1, 1, 1))
    assert gradient(main.objectness)[at2] == gradient(deep.objectness)[at4] == 0.0
    assert not gradient(spheres)[(slice(None), *at2)].any()
    assert gradient(main.objectness)[4, 4, 4] != 0.0
    assert gradient(deep.objectness)[2, 2, 2] != 0.0
    assert gradient(spheres)[:, 4, 4, 4].any()

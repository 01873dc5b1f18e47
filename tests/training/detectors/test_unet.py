"""The segmentation rival: its labels, its loss, and that it learns what components then find."""

import math

import numpy as np
import pytest
import torch
from golden.blob_graph import scattered, volume_with_blobs
from torch import Tensor

from picker_runtime.errors import UsageError
from picker_training.baselines.unet_picking import ComponentLimits, LabelMap, components
from picker_training.config import ModelSection, TrainingConfig
from picker_training.detectors.cost import cost_of
from picker_training.detectors.options import PointOptions, UNetOptions
from picker_training.detectors.point import PointDetector
from picker_training.detectors.unet import UNetDetector, ball_labels, dice_loss
from picker_training.loading import Batch
from picker_training.networks import build_network

EDGES = (8, 8, 8)


def batch_of(positions: Tensor, class_ids: Tensor, edge: int = 8, **more: object) -> Batch:
    return Batch(torch.zeros(1, 1, edge, edge, edge), [positions], [class_ids], **more)  # type: ignore[arg-type]


def test_a_ball_of_radius_1_is_a_cross_of_7_voxels() -> None:
    labels = ball_labels(torch.tensor([[3.0, 4.0, 5.0]]), torch.tensor([1]), torch.tensor([2.0, 1.0]), EDGES)
    assert {tuple(voxel) for voxel in torch.nonzero(labels).tolist()} == {
        (3, 4, 5), (2, 4, 5), (4, 4, 5), (3, 3, 5), (3, 5, 5), (3, 4, 4), (3, 4, 6),
    }  # fmt: skip
    assert labels.max() == 2


def test_where_balls_meet_the_nearer_centre_counts() -> None:
    positions = torch.tensor([[4.0, 4.0, 2.0], [4.0, 4.0, 5.0]])
    for order in ([0, 1], [1, 0]):
        labels = ball_labels(positions[order], torch.tensor([0, 1])[order], torch.tensor([2.0, 2.0]), EDGES)
        assert labels[4, 4].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]


def test_balls_reach_into_the_cube_from_outside() -> None:
    labels = ball_labels(torch.tensor([[-1.0, 0.0, 0.0]]), torch.tensor([0]), torch.tensor([1.5]), EDGES)
    assert {tuple(voxel) for voxel in torch.nonzero(labels).tolist()} == {(0, 0, 0), (0, 0, 1), (0, 1, 0)}
    assert not ball_labels(torch.tensor([[-9.0, 0.0, 0.0]]), torch.tensor([0]), torch.tensor([1.5]), EDGES).any()


def test_dice_by_hand() -> None:
    """Class 1 has two voxels, of which 0.5 and 0.25 are claimed, and 0.25 elsewhere: 2 (0.75 + 0.5) / (2 + 1 + 1)."""
    particle = torch.tensor([0.5, 0.25, 0.25, 0.0])
    probabilities = torch.stack([1.0 - particle, particle]).reshape(1, 2, 1, 1, 4)
    labels = torch.tensor([1, 1, 0, 0]).reshape(1, 1, 1, 4)
    counts = torch.ones(1, 1, 1, 4)
    assert float(dice_loss(probabilities, labels, counts)) == pytest.approx(1.0 - 2.5 / 4.0)
    counts[..., 2] = 0.0  # the wrong claim no longer counts
    assert float(dice_loss(probabilities, labels, counts)) == pytest.approx(1.0 - 2.5 / 3.75)


@pytest.mark.parametrize("where", ["halo", "ball", "unknown"])
def test_nothing_is_learnt_where_nothing_counts(where: str) -> None:
    network = UNetDetector(2, UNetOptions(widths=(2, 4)))
    unknown = torch.zeros(1, 8, 8, 8, dtype=torch.bool)
    unknown[0, 3, 3, 3] = True
    batch = {
        "halo": batch_of(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)),
        "ball": batch_of(
            torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), ignored=[torch.tensor([[3.0, 3.0, 3.0, 0.5]])]
        ),
        "unknown": batch_of(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), unknown=unknown),
    }[where]
    halo, voxel = (3, (1, 4, 4)) if where == "halo" else (0, (3, 3, 3))
    logits = torch.zeros(1, 3, 8, 8, 8, requires_grad=True)
    network.loss(logits, batch, halo=halo).total.backward()
    assert logits.grad is not None
    assert not logits.grad[(0, slice(None), *voxel)].any()
    assert logits.grad[0, :, 4, 4, 4].any()


def test_it_costs_what_our_detector_costs() -> None:
    ours, rival = cost_of(PointDetector(12, PointOptions())), cost_of(UNetDetector(12, UNetOptions()))
    assert 0.5 < rival.mac_per_voxel / ours.mac_per_voxel < 2.0


def test_it_needs_a_radius_for_each_class() -> None:
    with pytest.raises(ValueError, match="2 radii for 3 classes"):
        UNetDetector(3, UNetOptions(radii_voxels=(2.0, 3.0)))
    model = ModelSection(classes=("a", "b", "c"), detector="unet")
    with pytest.raises(UsageError, match=r"E83 \[unet\]: 2 radii for 3 classes"):
        build_network(TrainingConfig(model=model, unet=UNetOptions(radii_voxels=(2.0, 3.0))))


def test_labels_are_as_large_as_the_classes_unless_radii_are_given() -> None:
    heard, given = UNetDetector(2, UNetOptions(widths=(2, 4))), UNetDetector(2, UNetOptions(radii_voxels=(2.0, 3.0)))
    for network in (heard, given):
        network.prepare(torch.tensor([10.0, 20.0]))
    assert heard.radii.tolist() == pytest.approx([3.0, 6.0])
    same = UNetDetector(2, UNetOptions(widths=(2, 4), radii_voxels=(3.0, 6.0)))
    assert heard.class_weights.tolist() == pytest.approx(same.class_weights.tolist())
    assert given.radii.tolist() == [2.0, 3.0]


def test_it_learns_a_phantom_whose_components_are_its_particles() -> None:
    """Dark balls in 24^3; after forty steps on one cube every ball is one component."""
    shape = (24, 24, 24)
    places = scattered(shape, count=5, apart=9, margin=4, seed=1)
    volume = volume_with_blobs(shape, places, dark=True, seed=1)
    cube = torch.from_numpy((volume - volume.mean()) / volume.std()).float()[None, None]
    torch.manual_seed(0)
    network = UNetDetector(1, UNetOptions(widths=(4, 8), radii_voxels=(2.0,)))
    batch = Batch(cube, [torch.from_numpy(places).float()], [torch.zeros(len(places), dtype=torch.long)])
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-2)
    for _ in range(40):
        loss = network.loss(network(cube), batch, halo=0).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        probabilities = torch.softmax(network(cube), dim=1)[0].numpy()
    labels = LabelMap(
        particle=(1.0 - probabilities[0]).astype(np.float16),
        class_ids=np.zeros(shape, np.uint8),
        share=probabilities[1].astype(np.float16),
    )
    found = components(labels, ComponentLimits(fraction=0.3), (2.0,), (40.0,))
    distances = np.linalg.norm(found.positions[:, None] - places, axis=2)
    assert len(found) == len(places)
    assert distances.min(axis=0).max() < 1.0
    assert found.scores.min() > 0.5


@pytest.mark.parametrize("radius", [3.0, 1.2])
def test_cells_say_where_a_ball_is_whatever_its_size(radius: float) -> None:
    network = UNetDetector(2, UNetOptions(widths=(2, 4)))
    prediction = torch.zeros(1, 3, 16, 16, 16)
    prediction[0, 0] = 8.0
    labels = ball_labels(torch.tensor([[7.0, 8.0, 6.0]]), torch.tensor([1]), torch.tensor([2.0, radius]), (16, 16, 16))
    prediction[0, 2][labels == 2] = 12.0
    cells = network.cells(prediction)
    best = int(cells.scores.argmax())
    assert cells.centers[0].reshape(3, -1)[:, best].tolist() == [7.0, 8.0, 6.0]
    assert cells.class_ids.reshape(-1)[best] == 1
    assert math.isclose(float(cells.scores.max()), 1.0, abs_tol=0.1)

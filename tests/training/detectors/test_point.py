from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from picker_runtime.bundle import Bundle
from picker_training.detectors.layers import space_to_depth
from picker_training.detectors.options import POINT_SIZES, PointOptions, with_size
from picker_training.detectors.point import PointDetector
from picker_training.detectors.registry import rebuild
from picker_training.detectors.transfer import take_over
from picker_training.loading import Batch
from picker_training.model_card import load_network

ALIGNMENT, STRIDE = PointDetector.alignment, PointDetector.output_stride
TINY = PointOptions(widths=(8, 8, 8), blocks=(1, 1, 1))


def network(options: PointOptions = TINY) -> PointDetector:
    torch.manual_seed(0)
    made = PointDetector(3, options).eval()
    made.prepare(torch.tensor([6.0, 9.0, 12.0]))
    return made


def test_space_to_depth_moves_every_voxel_to_its_channel() -> None:
    cubes = torch.randn(2, 1, 4, 6, 8)
    out = space_to_depth(cubes)
    assert out.shape == (2, 8, 2, 3, 4)
    for z in range(4):
        for y in range(6):
            for x in range(8):
                channel = 4 * (z % 2) + 2 * (y % 2) + x % 2
                assert torch.equal(out[:, channel, z // 2, y // 2, x // 2], cubes[:, 0, z, y, x])


@pytest.mark.parametrize("shape", [(16, 16, 16), (8, 24, 32)])
def test_every_output_cell_gets_a_prediction(shape: tuple[int, int, int]) -> None:
    with torch.no_grad():
        prediction = network()(torch.randn(2, 1, *shape))
    cells = tuple(n // STRIDE for n in shape)
    assert prediction.objectness.shape == (2, *cells)
    assert prediction.classes.shape == (2, 3, *cells)
    assert prediction.offset.shape == (2, 3, *cells)
    assert {t.dtype for t in (prediction.objectness, prediction.classes, prediction.offset)} == {torch.float32}


def test_edges_that_are_no_multiples_of_the_alignment_do_not_fit() -> None:
    with pytest.raises(RuntimeError):
        network()(torch.zeros(1, 1, ALIGNMENT * 2, ALIGNMENT * 2, ALIGNMENT * 2 - 4))


def test_a_shift_by_the_alignment_shifts_the_prediction() -> None:
    shallow = PointOptions(widths=(8, 8, 8), blocks=(0, 0, 0))  # so that the faces are out of sight
    cubes = torch.randn(1, 1, 96, 16, 16)
    with torch.no_grad():
        one, shifted = network(shallow)(cubes), network(shallow)(torch.roll(cubes, ALIGNMENT, dims=2))
    middle = slice(20, 24)
    later = slice(20 + ALIGNMENT // STRIDE, 24 + ALIGNMENT // STRIDE)
    assert torch.allclose(one.objectness[:, middle], shifted.objectness[:, later], atol=1e-6)
    assert torch.allclose(one.offset[:, :, middle], shifted.offset[:, :, later], atol=1e-6)


def test_an_untrained_network_expects_few_particles() -> None:
    with torch.no_grad():
        probability = torch.sigmoid(network()(torch.randn(1, 1, 32, 32, 32)).objectness)
    assert 0.001 < float(probability.mean()) < 0.05


def test_the_options_set_the_size() -> None:
    def count(options: PointOptions, classes: int = 3) -> int:
        return sum(p.numel() for p in PointDetector(classes, options).parameters())

    wider = PointOptions(widths=(8, 16, 16), blocks=(1, 1, 1))
    deeper = PointOptions(widths=(8, 8, 8), blocks=(1, 2, 1))
    assert count(wider) > count(TINY)
    assert count(deeper) - count(TINY) == 2 * (8 * 8 * 27 + 2 * 8)
    assert 4 * count(PointOptions(), classes=12) < 8_000_000  # bytes that a bundle's file may have


EXTRAS: dict[str, Any] = {"deep_supervision": 0.5, "sphere_weight": 0.2}


def batch() -> Batch:
    positions = [torch.tensor([[8.2, 17.0, 9.9], [20.0, 22.0, 24.0]]), torch.zeros(0, 3)]
    class_ids = [torch.tensor([2, 1]), torch.zeros(0, dtype=torch.int64)]
    return Batch(torch.randn(2, 1, 32, 32, 32), positions, class_ids)


def test_the_bundled_weights_load_and_their_card_says_as_before() -> None:
    network_of_bundle = load_network(Bundle.open("shrec12"))
    assert isinstance(network_of_bundle, PointDetector)
    assert network_of_bundle.options == PointOptions() == POINT_SIZES["s"]
    assert network_of_bundle.facts() == {"detector": "point", "widths": [32, 64, 96], "blocks": [0, 1, 2]}


@given(
    st.builds(
        PointOptions,
        widths=st.sampled_from([(8, 8, 8), (8, 16, 8)]),
        objectness=st.sampled_from(["own", "classes"]),
        class_window=st.sampled_from([1, 3]),
        deep_supervision=st.sampled_from([0.0, 0.3]),
        sphere_weight=st.sampled_from([0.0, 0.3]),
        assignment=st.sampled_from(["gaussian", "own_cell", "aligned"]),
        objectness_loss=st.just("varifocal"),
    )
)
def test_facts_rebuild_a_network_that_takes_the_same_weights(options: PointOptions) -> None:
    one = network(options)
    other = rebuild(one.facts(), 3)
    other.load_state_dict(one.state_dict())
    assert other.facts() == one.facts()
    assert other.options.class_window == options.class_window


def test_how_a_network_learns_is_no_fact_of_it() -> None:
    learns = PointOptions(assignment="own_cell", label_smoothing=0.1, class_weight=1.0)
    assert network(learns).facts() == PointDetector(3, PointOptions()).facts()


@pytest.mark.parametrize("options", [replace(TINY, **EXTRAS), replace(TINY, **EXTRAS, objectness="classes")])
def test_heads_that_only_training_uses_stay_away_from_detection(options: PointOptions) -> None:
    one = network(options)
    with torch.no_grad():
        told = one(batch().cubes)
    assert told.deep is None
    assert told.spheres is None
    prediction = one.train()(batch().cubes)
    assert prediction.deep.objectness.shape == (2, 8, 8, 8)
    assert prediction.spheres.shape == (2, 4, 16, 16, 16)
    loss = one.loss(prediction, batch(), halo=4)
    main = one.loss(replace(prediction, deep=None, spheres=None), batch(), halo=4)
    added = 0.5 * float(loss.parts["deep"].detach()) + 0.2 * float(loss.parts["spheres"].detach())
    assert float(loss.total.detach()) == pytest.approx(float(main.total.detach()) + added, rel=1e-5)
    loss.total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for head, _ in one.class_rows() for p in head.parameters())


@pytest.mark.parametrize("assignment", ["gaussian", "own_cell", "aligned"])
@pytest.mark.parametrize("objectness", ["own", "classes"])
def test_every_way_of_learning_lowers_its_loss(assignment: str, objectness: str) -> None:
    options = replace(TINY, **EXTRAS, assignment=assignment, objectness=objectness, objectness_loss="varifocal")
    one, seen = network(options).train(), batch()
    optimiser = torch.optim.Adam(one.parameters(), lr=5e-3)
    costs = []
    for _ in range(10):
        loss = one.loss(one(seen.cubes), seen, halo=0)
        costs.append(float(loss.total.detach()))
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
    assert np.isfinite(costs).all()
    assert costs[-1] < 0.8 * costs[0]


def test_classes_are_taken_over_by_name_in_every_head() -> None:
    options = replace(TINY, **EXTRAS, objectness="classes")
    old, new = network(options), PointDetector(3, options)
    weights = take_over(old, ("a", "b", "c"), new, ("c", "x", "a"))
    for name, first in (("head", 0), ("deep_head", 0), ("sphere_head", 1)):
        before, after = getattr(old, name).bias, weights[f"{name}.bias"]
        assert torch.equal(after[first], before[first + 2])
        assert torch.equal(after[first + 2], before[first])
        assert torch.equal(after[first + 1], getattr(new, name).bias[first + 1])


def test_the_diameters_it_is_told_shape_the_spheres_and_are_no_weights() -> None:
    one = network(replace(TINY, **EXTRAS)).train()
    names = list(one.state_dict())
    prediction, costs = one(batch().cubes), []
    for diameter in (4.0, 12.0):
        one.prepare(torch.full((3,), diameter))
        costs.append(float(one.loss(prediction, batch(), halo=0).parts["spheres"].detach()))
    assert costs[0] != costs[1]
    assert list(one.state_dict()) == names
    assert "diameters_voxels" not in one.facts()


def test_a_size_changes_widths_and_blocks_alone() -> None:
    learns = PointOptions(label_smoothing=0.1, widths=(8, 8, 8))
    for size, options in POINT_SIZES.items():
        assert with_size(learns, size) == replace(options, label_smoothing=0.1)


@pytest.mark.parametrize(
    "options", [replace(TINY, sphere_weight=0.1), replace(TINY, assignment="aligned", objectness_loss="varifocal")]
)
def test_what_learns_by_diameters_has_to_be_told_them(options: PointOptions) -> None:
    one = PointDetector(3, options).train()
    with pytest.raises(RuntimeError, match="prepare"):
        one.loss(one(batch().cubes), batch(), halo=4)
    one.prepare(torch.tensor([6.0, 9.0, 12.0]))
    assert torch.isfinite(one.loss(one(batch().cubes), batch(), halo=4).total)
    plain = PointDetector(3, TINY)
    assert torch.isfinite(plain.loss(plain(batch().cubes), batch(), halo=4).total)

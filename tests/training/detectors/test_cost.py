import pytest
import torch
from torch import nn

from picker_training.detectors.cost import cost_of
from picker_training.detectors.options import POINT_SIZES, PointOptions
from picker_training.detectors.point import PointDetector


def test_a_convolution_costs_its_weights_at_every_output() -> None:
    found = cost_of(nn.Conv3d(1, 6, 3, stride=2, padding=1, bias=True))
    assert found.parameters == 6 * 27 + 6
    assert found.mac_per_voxel == 6 * 27 / 8
    assert found.values_per_voxel == 1 + 6 / 8


def test_a_transposed_one_costs_them_at_every_input() -> None:
    layers = nn.Sequential(nn.Conv3d(1, 4, 2, stride=2), nn.ConvTranspose3d(4, 3, 2, stride=2))
    found = cost_of(layers, edge=8)
    assert found.mac_per_voxel == 4 * 8 / 8 + 4 * 3 * 8 / 8
    assert found.parameters == (32 + 4) + (96 + 3)


class Twice(nn.Module):
    """One convolution used twice, another never, and one in training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused, self.trained = (nn.Conv3d(1, 1, 3, padding=1, bias=False) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.trained(x)
        out: torch.Tensor = self.used(self.used(x))
        return out


def test_what_runs_twice_costs_twice_and_what_does_not_run_nothing() -> None:
    network = Twice().train()
    found = cost_of(network, edge=8)
    assert (found.parameters, found.mac_per_voxel, found.values_per_voxel) == (27, 54, 4)
    assert network.training
    assert next(network.parameters()).device.type == "cpu"


def test_the_cost_of_a_voxel_does_not_depend_on_the_cube() -> None:
    network = PointDetector(3, PointOptions(widths=(8, 8, 8)))
    assert cost_of(network, edge=16) == cost_of(network, edge=64)


def test_the_sizes_of_point_are_a_quarter_and_five_times_its_default() -> None:
    n, s, m = (cost_of(PointDetector(12, POINT_SIZES[size])) for size in ("n", "s", "m"))
    assert n.mac_per_voxel == pytest.approx(0.266 * s.mac_per_voxel, rel=0.02)
    assert m.mac_per_voxel == pytest.approx(5.01 * s.mac_per_voxel, rel=0.02)
    assert s.mac_per_voxel == pytest.approx(14_472, abs=1)
    assert 4 * max(n.parameters, s.parameters) < 8_000_000 < 4 * m.parameters  # bytes a bundle's file may have
    assert 2 * m.parameters < 8_000_000
    assert n.parameters < s.parameters < m.parameters


def test_heads_of_training_alone_cost_nothing() -> None:
    plain = PointOptions(widths=(8, 8, 8))
    extra = PointOptions(widths=(8, 8, 8), deep_supervision=1.0, sphere_weight=1.0)
    assert cost_of(PointDetector(3, extra)) == cost_of(PointDetector(3, plain))

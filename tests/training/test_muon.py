import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from picker_training.config import OptimiserSection, TrainingConfig
from picker_training.detectors.base import Detector
from picker_training.detectors.options import PointOptions
from picker_training.muon import COEFFICIENTS, MOMENTUM, SIZE_OF_ADAMW, STEPS, Muon, orthogonal
from picker_training.networks import build_network
from picker_training.optimisation import build_optimiser

RATE = 2e-3
CONFIG = TrainingConfig(point=PointOptions(widths=(8, 16, 24), blocks=(0, 0, 1)))
KERNELS = 10
"""Of stem, two descents, a residual block at stride 8, two fusions, a block at stride 4, the last convolution."""


def network_with_gradients(seed: int = 0) -> Detector:
    torch.manual_seed(seed)
    network = build_network(CONFIG).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    give_gradients(network)
    return network


def give_gradients(network: nn.Module) -> None:
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)


def optimiser_of(network: Detector, *, kind: str = "muon", weight_decay: float = 0.02) -> torch.optim.Optimizer:
    section = OptimiserSection(kind=kind, learning_rate=RATE, weight_decay=weight_decay)
    return build_optimiser(replace(CONFIG, optimiser=section), network)


@pytest.mark.parametrize("shape", [(8, 216), (64, 64), (40, 12)])
def test_singular_values_come_near_one_and_singular_vectors_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    u, values, v = torch.linalg.svd(matrix, full_matrices=False)
    turned = u.T @ orthogonal(matrix) @ v.T
    large = values > 0.1 * values.max()
    assert torch.all((turned.diagonal()[large] > 0.6) & (turned.diagonal()[large] < 1.25))
    assert float((turned - torch.diag(turned.diagonal())).abs().max()) < 1e-3


@pytest.mark.parametrize("least", [1.0, 1e-2, 1e-6])
def test_steps_on_the_square_are_those_on_the_matrix(least: float) -> None:
    generator = torch.Generator().manual_seed(3)
    u, _, v = torch.linalg.svd(torch.randn(24, 200, generator=generator), full_matrices=False)
    matrix = u @ torch.diag(torch.logspace(0.0, math.log10(least), 24)) @ v
    wide = matrix / matrix.norm()
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        square = wide @ wide.T
        wide = a * wide + (b * square + c * square @ square) @ wide
    assert torch.allclose(orthogonal(matrix), wide, atol=1e-3)
    assert torch.allclose(orthogonal(matrix.T), wide.T, atol=1e-3)


def test_the_size_of_a_gradient_changes_nothing() -> None:
    matrix = torch.randn(16, 54)
    assert torch.allclose(orthogonal(1e4 * matrix), orthogonal(matrix), atol=1e-4)
    assert torch.all(orthogonal(torch.zeros(4, 9)) == 0.0)


def test_kernels_take_steps_as_large_as_adamw_s() -> None:
    network = network_with_gradients()
    before = copy.deepcopy(network)
    optimiser = optimiser_of(network, weight_decay=0.0)
    optimiser.step()
    kernels = optimiser.param_groups[0]["params"]
    assert len(kernels) == KERNELS
    for name, parameter in network.named_parameters():
        if any(parameter is kernel for kernel in kernels):
            step = parameter.detach() - before.get_parameter(name).detach()
            assert float(step.square().mean().sqrt()) == pytest.approx(SIZE_OF_ADAMW * RATE, rel=0.35), name
            assert float((step * parameter.grad).sum()) < 0.0


def test_heads_and_what_is_no_kernel_learn_by_adamw() -> None:
    ours, theirs = network_with_gradients(), network_with_gradients()
    first, second = optimiser_of(ours), optimiser_of(theirs, kind="adamw")
    others = first.param_groups[1]["params"]
    names = [name for name, p in ours.named_parameters() if any(p is other for other in others)]
    assert {"head.weight", "head.bias"} < set(names)
    assert len(names) == len(list(ours.parameters())) - KERNELS
    for seed in range(3):
        torch.manual_seed(seed)
        give_gradients(ours)
        torch.manual_seed(seed)
        give_gradients(theirs)
        first.step()
        second.step()
    for name in names:
        assert torch.equal(ours.get_parameter(name), theirs.get_parameter(name)), name
    assert not torch.equal(ours.get_parameter("stem.0.weight"), theirs.get_parameter("stem.0.weight"))


def test_weights_decay_by_the_rate() -> None:
    network = network_with_gradients()
    kernel = network.get_parameter("stem.0.weight")
    before = kernel.detach().clone()
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser_of(network, weight_decay=0.5).step()
    assert torch.allclose(kernel, before * (1.0 - 0.5 * RATE))


def test_steps_follow_the_gradients_of_before_too() -> None:
    """Two gradients of one entry each: after both, Nesterov's mean has 0.95^2 x 0.05 of the first."""
    kernel = torch.zeros(2, 3, requires_grad=True)
    optimiser = Muon([kernel], [], lr=1.0, weight_decay=0.0)
    gradients = torch.zeros(2, 2, 3)
    gradients[0, 0, 0] = gradients[1, 1, 1] = 1.0
    for gradient in gradients:
        before = kernel.detach().clone()
        kernel.grad = gradient.clone()
        optimiser.step()
    mean = MOMENTUM**2 * (1 - MOMENTUM) * gradients[0] + (1 - MOMENTUM**2) * gradients[1]
    expected = -SIZE_OF_ADAMW * 3**0.5 * orthogonal(mean)
    assert torch.allclose(kernel.detach() - before, expected, atol=1e-4)
    assert float(expected[0, 0]) < -0.05


def test_it_goes_on_from_its_state_as_if_never_stopped() -> None:
    network = network_with_gradients()
    optimiser = optimiser_of(network)
    optimiser.step()
    twin = copy.deepcopy(network)
    resumed = optimiser_of(twin)
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    for one, of_it in ((network, optimiser), (twin, resumed)):
        torch.manual_seed(7)
        give_gradients(one)
        of_it.step()
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_it_finds_the_least_of_a_bowl() -> None:
    torch.manual_seed(0)
    target = torch.randn(6, 20)
    kernel = torch.zeros(6, 20, requires_grad=True)
    optimiser = Muon([kernel], [], lr=0.1, weight_decay=0.0)
    for step in range(200):
        optimiser.param_groups[0]["lr"] = 0.1 * (1.0 - step / 200)
        optimiser.zero_grad()
        (kernel - target).square().sum().backward()
        optimiser.step()
    assert float((kernel - target).detach().abs().max()) < 0.05

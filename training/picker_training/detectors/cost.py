"""Cost of a network: its parameters, and the multiplications and the traffic that each voxel of a cube takes."""

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

EDGE = 64
"""Of the cube that is counted; layers cost the same per voxel in any other."""

Weighted = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose3d | nn.Linear


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Parameters that detection uses, and what its convolutions take per voxel of a cube.

    mac_per_voxel: multiply-accumulate operations. values_per_voxel: read and written, each by each of them once.
    """

    parameters: int
    mac_per_voxel: float
    values_per_voxel: float


def cost_of(network: nn.Module, *, edge: int = EDGE) -> Cost:
    """Return the cost of a network of cubes `(n, 1, d, h, w)`; what only training runs is not counted.

    Nothing is computed: the shapes alone are followed, on PyTorch's device `meta`.
    """
    counted = copy.deepcopy(network).to("meta").eval()
    used: dict[nn.Module, None] = {}
    macs, values = [], []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        used[module] = None
        if isinstance(module, Weighted):
            macs.append(_mac(module, inputs[0], output))
            values.append(inputs[0].numel() + output.numel())

    for module in counted.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    with torch.no_grad():
        counted(torch.zeros(1, 1, edge, edge, edge, device="meta"))
    return Cost(
        parameters=sum(p.numel() for module in used for p in module.parameters()),
        mac_per_voxel=sum(macs) / edge**3,
        values_per_voxel=sum(values) / edge**3,
    )


def _mac(module: Weighted, given: Tensor, output: Tensor) -> int:
    """Return one multiplication per weight and place at which the weights act."""
    if isinstance(module, nn.Linear):
        return module.weight.numel() * (given.numel() // module.in_features)
    acted_on = given if isinstance(module, nn.ConvTranspose3d) else output
    return module.weight.numel() * math.prod(acted_on.shape[2:]) * acted_on.shape[0]

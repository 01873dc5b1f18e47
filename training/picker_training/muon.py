"""Muon: kernels learn by momentum made orthogonal, everything else by AdamW.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; the scale of the steps, with which
AdamW's rates and weight decay suit it, from Liu et al., "Muon is scalable for LLM training", arXiv:2502.16982, 2025.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic whose iteration brings all singular values near 1 soonest."""

SIZE_OF_ADAMW = 0.2
"""Root mean square of AdamW's steps, in units of the rate."""


class Muon(torch.optim.AdamW):
    """AdamW whose group `kernels` takes steps of orthogonalised momentum, a kernel's inputs and voxels as one axis."""

    def __init__(self, kernels: Iterable[Tensor], others: Iterable[Tensor], *, lr: float, weight_decay: float) -> None:
        groups = [{"params": list(kernels), "kernels": True}, {"params": list(others), "kernels": False}]
        super().__init__(groups, lr=lr, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step."""
        all_groups = self.param_groups
        for group in all_groups:
            if group["kernels"]:
                self._step_kernels(group)
        self.param_groups = [group for group in all_groups if not group["kernels"]]
        try:
            return super().step(closure)
        finally:
            self.param_groups = all_groups

    def _step_kernels(self, group: dict[str, Any]) -> None:
        for kernel in group["params"]:
            if kernel.grad is None:
                continue
            state = self.state[kernel]
            if not state:
                state |= {"step": torch.zeros(()), "momentum": torch.zeros_like(kernel)}
            state["step"] += 1
            momentum = state["momentum"].lerp_(kernel.grad, 1.0 - MOMENTUM)
            matrix = kernel.grad.lerp(momentum, MOMENTUM).flatten(1)  # Nesterov's
            size = SIZE_OF_ADAMW * max(matrix.shape) ** 0.5
            kernel.mul_(1.0 - group["lr"] * group["weight_decay"])
            kernel.add_(orthogonal(matrix).view_as(kernel), alpha=-group["lr"] * size)


def orthogonal(matrix: Tensor) -> Tensor:
    """Return `(m, n)` with the same singular vectors and singular values near 1, by Newton-Schulz iteration.

    Each step multiplies by a polynomial of the wide matrix times its transpose; all steps are taken on that product. It
    has to be exact to float32: TF32 would blur small singular values so that the iteration diverges.
    """
    a, b, c = COEFFICIENTS
    wide: Tensor = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (wide.norm() + 1e-7)
    start = wide @ wide.T
    one = torch.eye(len(start), dtype=start.dtype, device=start.device)
    whole = one
    for _ in range(STEPS):
        square = whole @ start @ whole
        whole = (a * one + b * square + c * square @ square) @ whole
    wide = whole @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T

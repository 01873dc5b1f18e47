"""Weights as a bundle keeps them: in float16, half the size, and exactly those that its graph was made of."""

import torch
from torch import Tensor, nn


def round_to_half(network: nn.Module) -> None:
    """Round the weights of convolutions to float16 values, in place; biases and BatchNorm stay as they are."""
    with torch.no_grad():
        for weight in network.parameters():
            if _is_kernel(weight):
                weight.copy_(weight.half())


def half_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights to keep, of a network that was rounded: kernels in float16, the rest in float32."""
    weights = network.state_dict()
    return {name: (value.half() if _is_kernel(value) else value).contiguous() for name, value in weights.items()}


def _is_kernel(value: Tensor) -> bool:
    return value.dim() > 1

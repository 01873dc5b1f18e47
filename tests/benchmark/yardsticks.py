"""Yardsticks: the same network in PyTorch, and the published network the way its paper runs it.

The published network takes overlapping cubes of 64^3 whose inner 48^3 count (Wu, Liu and Yang, ISBI 2022), in float32,
without compilation, so many at a time. Its weights are drawn by chance: they do not matter for the time.
"""

import math
from typing import Any

import torch
from benchmark.ceilings import best
from torch import nn

from picker_runtime.geometry import Triple
from picker_training.detectors.options import PaperOptions
from picker_training.detectors.paper import PaperDetector
from picker_training.device import float32_convolutions

CUBE, CORE = 64, 48
CLASSES = 12
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def same_network(
    network: nn.Module, cube: Triple, cubes: int, *, precision: str, compiled: bool, device: str, repeats: int
) -> dict[str, Any]:
    """Return the seconds of a tomogram's cubes through the network in PyTorch, without reading and decoding."""
    dtype = DTYPES[precision]
    ready = network.to(device, dtype, memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]
    run = torch.compile(ready) if compiled else ready
    values = torch.randn(1, 1, *cube, device=device, dtype=dtype).to(memory_format=torch.channels_last_3d)
    one = _seconds(run, values, device, repeats)
    name = f"this network, PyTorch {'compiled' if compiled else 'eager'}"
    return {"yardstick": name, "precision": precision, "cube": list(cube), "batch": 1, "seconds": one * cubes}


def published_network(shape: Triple, *, batch: int, device: str, repeats: int) -> dict[str, Any]:
    """Return the seconds of a tomogram of this shape through the published network, its cubes alone."""
    network = PaperDetector(CLASSES, PaperOptions()).to(device).eval()
    cubes = math.prod(-(-edge // CORE) for edge in shape)
    values = torch.randn(batch, 1, CUBE, CUBE, CUBE, device=device)
    one = _seconds(network, values, device, repeats)
    return {
        "yardstick": "published network, PyTorch eager", "precision": "fp32", "cube": [CUBE] * 3, "batch": batch,
        "seconds": one * cubes / batch,
    }  # fmt: skip


def _seconds(network: Any, values: torch.Tensor, device: str, repeats: int) -> float:
    with torch.no_grad(), float32_convolutions():
        return best(
            lambda: network(values),
            wait=torch.cuda.synchronize if device == "cuda" else lambda: None,
            repeats=repeats,
        )

"""Tiny detectors with weights drawn by chance, whose scores nevertheless spread over the whole range."""

import torch
from torch import nn

from picker_training.detectors.decode import DecodedDetector
from picker_training.detectors.options import PointOptions
from picker_training.detectors.point import PointDetector

DIAMETERS_VOXELS = torch.tensor([7.0, 10.0, 14.0])
SLOTS = 64


def lively(network: PointDetector) -> PointDetector:
    """Give BatchNorm statistics as after training, and candidates enough to compare."""
    generator = torch.Generator().manual_seed(1)
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm3d)):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.normal_(0.0, 0.2, generator=generator)
        norm.running_var.uniform_(0.2, 0.8, generator=generator)
        nn.init.normal_(norm.bias, 0.0, 0.2, generator=generator)
    with torch.no_grad():
        network.head.weight *= 3.0
        network.head.bias[:1] = 0.0  # type: ignore[index]
    return network.eval()


def tiny_detector(*, slots: int = SLOTS) -> DecodedDetector:
    torch.manual_seed(0)
    network = PointDetector(3, PointOptions(widths=(8, 8, 8), blocks=(1, 1, 1)))
    return DecodedDetector(lively(network), DIAMETERS_VOXELS, slots).eval()

"""The layers of `paper`: a Darknet of 36 residual blocks, a pyramid that climbs back to stride 4, and its head.

Sizes after the public code of Wu, Liu and Yang (ISBI 2022); the paper does not state them.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAK = 0.1


class Convolution(nn.Sequential):
    """Convolution with a bias, BatchNorm (folded at export) and LeakyReLU."""

    def __init__(self, channels: int, out: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__(
            nn.Conv3d(channels, out, kernel, stride, kernel // 2), nn.BatchNorm3d(out), nn.LeakyReLU(LEAK, inplace=True)
        )


class Residual(nn.Module):
    """A 1x1x1 convolution to half the width and a 3x3x3 one back, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = Convolution(channels, channels // 2, 1)
        self.widen = Convolution(channels // 2, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` plus its correction."""
        out: Tensor = x + self.widen(self.narrow(x))
        return out


class Backbone(nn.Module):
    """Normalised cubes to features at strides 4, 8 and 16; each stage has twice the channels and half the grid."""

    def __init__(self, width: int, blocks: tuple[int, ...]) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(len(blocks))]
        stages = [nn.Sequential(Convolution(1, width, 3), *(Residual(width) for _ in range(blocks[0])))]
        for (fine, coarse), count in zip(pairwise(widths), blocks[1:], strict=True):
            down = Convolution(fine, coarse, 3, stride=2)
            stages.append(nn.Sequential(down, *(Residual(coarse) for _ in range(count))))
        self.stages = nn.ModuleList(stages)

    def forward(self, cubes: Tensor) -> list[Tensor]:
        """Return the features of the last three stages, finest first."""
        features = []
        for stage in self.stages:
            cubes = stage(cubes)
            features.append(cubes)
        return features[-3:]


class Five(nn.Sequential):
    """Five convolutions, 1x1x1 and 3x3x3 in turn, that end with half the width of the widest."""

    def __init__(self, channels: int, wide: int) -> None:
        narrow = wide // 2
        super().__init__(
            Convolution(channels, narrow, 1), Convolution(narrow, wide, 3), Convolution(wide, narrow, 1),
            Convolution(narrow, wide, 3), Convolution(wide, narrow, 1),
        )  # fmt: skip


class Pyramid(nn.Module):
    """Features at strides 4, 8 and 16 to features at stride 4: upwards by nearest neighbours, joined with the finer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        at4, at8, at16 = 4 * width, 8 * width, 16 * width
        self.coarse = Five(at16, at16)
        self.to_middle = Convolution(at16 // 2, at8 // 2, 1)
        self.middle = Five(at8 // 2 + at8, at8)
        self.to_fine = Convolution(at8 // 2, at4 // 2, 1)
        self.fine = Five(at4 // 2 + at4, at4)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return features at stride 4."""
        at4, at8, at16 = features
        middle = self.middle(torch.cat([_doubled(self.to_middle(self.coarse(at16))), at8], dim=1))
        out: Tensor = self.fine(torch.cat([_doubled(self.to_fine(middle)), at4], dim=1))
        return out


class Head(nn.Module):
    """Features to `(n, anchors, 5 + classes, d, h, w)`: per anchor z, y, x, size, objectness and classes, all raw.

    linear: end with the 1x1x1 convolution; else BatchNorm and LeakyReLU follow it, as in the public code.
    The last layer is one convolution, kept in parts so that those of the classes can be told from the others.
    """

    def __init__(self, wide: int, anchors: int, classes: int, *, linear: bool) -> None:
        super().__init__()
        self.anchors = anchors
        self.before = Convolution(wide // 2, wide, 3)
        last = nn.Conv3d if linear else Convolution
        self.boxes = last(wide, anchors * 5, 1)
        self.classes = nn.ModuleList(last(wide, classes, 1) for _ in range(anchors))

    def forward(self, features: Tensor) -> Tensor:
        """Return the raw prediction, float32."""
        features = self.before(features)
        boxes = self.boxes(features).float().unflatten(1, (self.anchors, 5))
        classes = torch.stack([of_anchor(features).float() for of_anchor in self.classes], dim=1)
        return torch.cat([boxes, classes], dim=2)

    def class_rows(self) -> list[tuple[nn.Module, int]]:
        """Return the layers whose channels are the classes, from channel 0 on."""
        layers = [m for part in self.classes for m in part.modules()]
        return [(layer, 0) for layer in layers if isinstance(layer, nn.Conv3d | nn.BatchNorm3d)]


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")

"""The default detector `point`: anchor-free, one prediction per output cell at half the tomogram's resolution.

cubes ─ space to depth ─ stage at stride 2 ─┐────────────── fuse ─ refine ─ head: objectness, classes, offset
                            └ stage at stride 4 ─┐── fuse ─ refine ┘
                                                 └ stage at stride 8 ┘
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

OUTPUT_STRIDE = 2
ALIGNMENT = 8
LEAK = 0.1
RARE = -4.6
"""Initial objectness logit: a probability of 0.01, so that the first steps are not spent on unlearning 0.5."""


@dataclass(frozen=True, kw_only=True)
class PointConfig:
    """Width of each stage (strides 2, 4, 8), its residual blocks on the way down, and the number of classes."""

    classes: int
    widths: tuple[int, int, int] = (32, 64, 96)
    blocks: tuple[int, int, int] = (0, 2, 2)


@dataclass(frozen=True)
class Prediction:
    """Raw outputs per output cell, float32.

    objectness: `(n, d, h, w)` logits.
    classes: `(n, classes, d, h, w)` logits.
    offset: `(n, 3, d, h, w)` zyx voxels from the cell's centre.
    """

    objectness: Tensor
    classes: Tensor
    offset: Tensor


class Convolution(nn.Sequential):
    """3x3x3 convolution, BatchNorm (folded at export) and LeakyReLU."""

    def __init__(self, channels: int, out: int, *, stride: int = 1) -> None:
        super().__init__(
            nn.Conv3d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm3d(out), nn.LeakyReLU(LEAK, inplace=True)
        )


class Residual(nn.Module):
    """Two convolutions added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Convolution(channels, channels)
        self.second = nn.Sequential(nn.Conv3d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm3d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` plus its correction."""
        return functional.leaky_relu(x + self.second(self.first(x)), LEAK)


class Fuse(nn.Module):
    """Project the coarser stage to the finer one's width, double its grid (nearest) and add it."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Conv3d(coarse, fine, 1, bias=False), nn.BatchNorm3d(fine))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return the sum at the finer stage's resolution."""
        up = functional.interpolate(self.project(coarse), scale_factor=2.0, mode="nearest")
        return functional.leaky_relu(fine + up, LEAK)


def space_to_depth(x: Tensor) -> Tensor:
    """Turn each 2x2x2 block of voxels into 8 channels: `(n, 1, d, h, w)` to `(n, 8, d/2, h/2, w/2)`."""
    n, _, d, h, w = x.shape
    x = x.reshape(n, d // 2, 2, h // 2, 2, w // 2, 2)
    return x.permute(0, 2, 4, 6, 1, 3, 5).reshape(n, 8, d // 2, h // 2, w // 2)


class PointDetector(nn.Module):
    """The network: normalised cubes `(n, 1, d, h, w)`, edges multiples of 8, to a `Prediction` at stride 2."""

    def __init__(self, config: PointConfig) -> None:
        super().__init__()
        self.config = config
        fine, middle, coarse = config.widths
        at2, at4, at8 = config.blocks
        self.stem = Convolution(8, fine)
        self.stage2 = nn.Sequential(*(Residual(fine) for _ in range(at2)))
        self.down4 = Convolution(fine, middle, stride=2)
        self.stage4 = nn.Sequential(*(Residual(middle) for _ in range(at4)))
        self.down8 = Convolution(middle, coarse, stride=2)
        self.stage8 = nn.Sequential(*(Residual(coarse) for _ in range(at8)))
        self.fuse4 = Fuse(coarse, middle)
        self.refine4 = Residual(middle)
        self.fuse2 = Fuse(middle, fine)
        self.refine2 = Convolution(fine, fine)
        self.head = nn.Conv3d(fine, 1 + config.classes + 3, 1)
        nn.init.constant_(self.head.bias[:1], RARE)  # type: ignore[index]

    def forward(self, cubes: Tensor) -> Prediction:
        """Return the prediction of every output cell."""
        at2 = self.stage2(self.stem(space_to_depth(cubes)))
        at4 = self.stage4(self.down4(at2))
        at8 = self.stage8(self.down8(at4))
        at4 = self.refine4(self.fuse4(at8, at4))
        out = self.head(self.refine2(self.fuse2(at4, at2))).float()
        return Prediction(objectness=out[:, 0], classes=out[:, 1:-3], offset=out[:, -3:])

"""Layers of the network `point`."""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

LEAK = 0.1


class Convolution(nn.Sequential):
    """3x3x3 convolution, BatchNorm (folded at export) and LeakyReLU."""

    def __init__(self, channels: int, out: int, *, stride: int = 1) -> None:
        super().__init__(
            nn.Conv3d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm3d(out), nn.LeakyReLU(LEAK, inplace=True)
        )


class Residual(nn.Module):
    """Two convolutions added to their input."""

    GAIN: ClassVar[str] = "second.1.weight"
    """Name of the parameter by which what is added is multiplied, channel by channel."""

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

"""What every detector is: a network that says how it learns and what its output means."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from picker_training.loading import Batch


@dataclass(frozen=True)
class Loss:
    """The parts of a loss, scalar tensors by name, and their weighted sum, which the optimiser minimises."""

    parts: Mapping[str, Tensor]
    total: Tensor


@dataclass(frozen=True, kw_only=True)
class Cells:
    """What a network says of each output cell.

    scores: `(n, d, h, w)`, 0 where there is no candidate. class_ids: `(n, d, h, w) int64`, of the best class.
    centers: `(n, 3, d, h, w)` zyx voxels of the cube.
    diameters: `(n, d, h, w)` voxels, or None where a particle's diameter is that of its class.
    """

    scores: Tensor
    class_ids: Tensor
    centers: Tensor
    diameters: Tensor | None = None


class Detector(nn.Module, ABC):
    """A detection network: normalised cubes `(n, 1, d, h, w)`, edges multiples of `alignment`, to a raw prediction.

    name: as in a configuration and on a card. options: the dataclass that, with the number of classes, fixes its shape.
    nms_fraction: two candidates closer than so much of the mean of their diameters are one particle; two thirds, as
    published (Wu, Liu, Yang, 2022), until an export has chosen among nms_fractions: compact particles touch at 1, rods
    side by side at little more than a half.
    """

    name: ClassVar[str]
    alignment: ClassVar[int]
    output_stride: ClassVar[int]
    nms_fraction: ClassVar[float] = 2 / 3
    nms_fractions: ClassVar[tuple[float, ...]] = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75)

    def __init__(self, classes: int, options: Any) -> None:
        super().__init__()
        self.classes = classes
        self.options = options

    def prepare(self, diameters_voxels: Tensor) -> None:
        """Hear, before training, how large the classes are, `(classes,)`; for detectors that learn it."""

    @abstractmethod
    def loss(self, prediction: Any, batch: Batch, *, halo: int) -> Loss:
        """Return the loss of a batch; the outer `halo` voxels of each cube are context."""

    @abstractmethod
    def cells(self, prediction: Any) -> Cells:
        """Return what a prediction means."""

    @abstractmethod
    def class_rows(self) -> list[tuple[nn.Module, int]]:
        """Return the layers whose output channels stand for classes, each with the channel of the first class."""

    def facts(self) -> dict[str, Any]:
        """Return what a card says of the network, enough to build it again."""
        options = asdict(self.options)
        return {"detector": self.name, **{k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}}

    def takes_weights_of(self, other: "Detector") -> bool:
        """Tell whether the weights of another network suit this one, but for the classes."""
        return self.facts() == other.facts()


def cell_centres(shape: tuple[int, int, int], stride: int, device: torch.device) -> Tensor:
    """Return the centres of output cells `(d, h, w, 3)` zyx in voxels of the cube."""
    axes = [torch.arange(n, device=device) * float(stride) + (stride - 1) / 2 for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def cells_with(voxels: Tensor, stride: int) -> Tensor:
    """Tell which output cells `(n, d, h, w) bool` hold any of the voxels `(n, depth, height, width) bool`."""
    return functional.max_pool3d(voxels.unsqueeze(1).float(), stride).squeeze(1) > 0

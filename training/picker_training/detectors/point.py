"""The default detector `point`: anchor-free, one prediction per output cell at half the tomogram's resolution.

cubes ─ space to depth ─ stage at stride 2 ─┐────────────── fuse ─ refine ─ head: objectness, classes, offset
                            └ stage at stride 4 ─┐── fuse ─ refine ┘
                                                 └ stage at stride 8 ┘
"""

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from picker_training.detectors.base import Cells, Detector, Loss, cell_centres
from picker_training.detectors.layers import Convolution, Fuse, Residual, space_to_depth
from picker_training.detectors.options import PointOptions
from picker_training.detectors.prediction import Prediction, class_evidence, read_head
from picker_training.detectors.supervision import supervise
from picker_training.loading import Batch

RARE = -4.6
"""Initial objectness logit: a probability of 0.01, so that the first steps are not spent on unlearning 0.5."""

SHAPE = ("objectness", "class_window", "deep_supervision", "sphere_weight")
"""Options that, beside widths and blocks, fix the network or what it means; the others are how it learns."""

FREE = ("class_window", "blocks")
"""Options in which a network may differ from the one whose weights it takes: how its output is read, and depth."""


class PointDetector(Detector):
    """The network: normalised cubes to a `Prediction` at stride 2."""

    name: ClassVar[str] = "point"
    alignment: ClassVar[int] = 8
    output_stride: ClassVar[int] = 2
    options: PointOptions
    diameters_voxels: Tensor

    def __init__(self, classes: int, options: PointOptions) -> None:
        super().__init__(classes, options)
        fine, middle, coarse = options.widths
        at2, at4, at8 = options.blocks
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
        self.head = self._head(fine)
        self.deep_head = self._head(middle) if options.deep_supervision > 0 else None
        self.sphere_head = nn.Conv3d(fine, 1 + classes, 1) if options.sphere_weight > 0 else None
        self.register_buffer("diameters_voxels", torch.zeros(classes), persistent=False)
        self._knows_enough = options.assignment != "aligned" and options.sphere_weight == 0

    def prepare(self, diameters_voxels: Tensor) -> None:
        """Hear how large the classes are, `(classes,)`: cells are aligned, and spheres drawn, by it."""
        self.diameters_voxels = diameters_voxels.to(self.diameters_voxels)
        self._knows_enough = True

    def forward(self, cubes: Tensor) -> Prediction:
        """Return the prediction of every output cell."""
        at2 = self.stage2(self.stem(space_to_depth(cubes)))
        at4 = self.stage4(self.down4(at2))
        at8 = self.stage8(self.down8(at4))
        at4 = self.refine4(self.fuse4(at8, at4))
        at2 = self.refine2(self.fuse2(at4, at2))
        prediction = read_head(self.head(at2), self.options)
        if self.training and self.deep_head is not None:
            prediction = replace(prediction, deep=read_head(self.deep_head(at4), self.options))
        if self.training and self.sphere_head is not None:
            prediction = replace(prediction, spheres=self.sphere_head(at2).float())
        return prediction

    def loss(self, prediction: Prediction, batch: Batch, *, halo: int) -> Loss:
        """Return the loss of a batch; nothing is learnt in the halo.

        Raises:
            RuntimeError: if it learns by diameters that it was not told.
        """
        if not self._knows_enough:
            raise RuntimeError("the detector does not know the diameters of its classes: call prepare() first")
        return supervise(
            prediction, batch, self.options, halo=halo, stride=self.output_stride, diameters=self.diameters_voxels
        )

    def cells(self, prediction: Prediction) -> Cells:
        """Return the cells whose objectness no neighbour in 3x3x3 exceeds.

        The score is the probability of a particle, times that of its best class where the classes do not say both.
        """
        objectness = torch.sigmoid(prediction.objectness)
        neighbourhood = functional.max_pool3d(objectness.unsqueeze(1), 3, 1, 1).squeeze(1)
        best, classes = class_evidence(prediction, self.options).max(dim=1)
        scores = objectness * best if self.options.objectness == "own" else objectness
        _, d, h, w = objectness.shape
        centres = cell_centres((d, h, w), self.output_stride, objectness.device).permute(3, 0, 1, 2)
        return Cells(
            scores=torch.where(objectness >= neighbourhood, scores, torch.zeros_like(scores)),
            class_ids=classes,
            centers=prediction.offset + centres,
        )

    def class_rows(self) -> list[tuple[nn.Module, int]]:
        """Return the heads; objectness, or the spheres' background, comes first if there is one."""
        first = 1 if self.options.objectness == "own" else 0
        heads = [(self.head, first), (self.deep_head, first), (self.sphere_head, 1)]
        return [(head, row) for head, row in heads if head is not None]

    def facts(self) -> dict[str, Any]:
        """Return what a card says of the network: widths, blocks, and what else of its shape is not the default."""
        default = PointOptions()
        told = ["detector", "widths", "blocks"]
        told += [key for key in SHAPE if getattr(self.options, key) != getattr(default, key)]
        return {key: value for key, value in super().facts().items() if key in told}

    def takes_weights_of(self, other: Detector) -> bool:
        """Tell whether the weights of another network suit this one, but for the classes."""
        own, its = ({k: v for k, v in one.facts().items() if k not in FREE} for one in (self, other))
        return own == its

    def _head(self, width: int) -> nn.Conv3d:
        own = self.options.objectness == "own"
        head = nn.Conv3d(width, own + self.classes + 3, 1)
        nn.init.constant_(head.bias[: 1 if own else self.classes], RARE)  # type: ignore[index]
        return head

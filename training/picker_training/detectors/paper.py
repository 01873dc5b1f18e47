"""The detector `paper`: the 3D YOLOv3 of Wu, Liu and Yang (ISBI 2022) as published, and with its defects mended.

cubes ─ stride 1 ─ stride 2 ─ stride 4 ────────────────────┐── join ─ head: 3 anchors x (place, size, object, classes)
                                 └ stride 8 ───────┐── join ┘
                                      └ stride 16 ──┘
Every option that is off leaves the published behaviour; docs/paper.md says where paper and public code differ.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from picker_training.detectors.base import Cells, Detector, Loss
from picker_training.detectors.options import PaperOptions
from picker_training.detectors.paper_assignment import assign_boxes
from picker_training.detectors.paper_boxes import RawPrediction, decode_boxes, keep_peaks
from picker_training.detectors.paper_loss import paper_loss
from picker_training.detectors.paper_network import Backbone, Head, Pyramid
from picker_training.loading import Batch


class PaperDetector(Detector):
    """The network: normalised cubes to a `RawPrediction` at stride 4."""

    name: ClassVar[str] = "paper"
    alignment: ClassVar[int] = 16
    output_stride: ClassVar[int] = 4
    nms_fractions: ClassVar[tuple[float, ...]] = (Detector.nms_fraction,)  # as published

    anchors: Tensor
    sizes: Tensor

    def __init__(self, classes: int, options: PaperOptions) -> None:
        super().__init__(classes, options)
        width, anchors = options.width, options.anchors
        self.backbone = Backbone(width, options.blocks)
        self.pyramid = Pyramid(width)
        self.head = Head(4 * width, len(anchors), classes, linear=options.linear_output)
        self.register_buffer("anchors", torch.tensor(anchors), persistent=False)
        self.register_buffer("sizes", torch.zeros(classes), persistent=False)
        self.prepared = False

    def prepare(self, diameters_voxels: Tensor) -> None:
        """Take the classes' diameters `(classes,)` as the edges of their boxes, which the network learns."""
        self.sizes.copy_(diameters_voxels)
        self.prepared = True

    def forward(self, cubes: Tensor) -> RawPrediction:
        """Return the prediction of every anchor and output cell."""
        return RawPrediction.of(self.head(self.pyramid(self.backbone(cubes))))

    def loss(self, prediction: RawPrediction, batch: Batch, *, halo: int) -> Loss:
        """Return the loss of a batch; what a prediction should say depends on where it is now.

        Raises:
            RuntimeError: if the sizes of the classes are not known yet.
        """
        if not self.prepared:
            raise RuntimeError("call prepare() with the classes' diameters first")
        with torch.no_grad():
            boxes = decode_boxes(prediction, self.anchors, self.output_stride)
            targets = assign_boxes(batch, boxes, self.sizes, self.options, halo=halo, stride=self.output_stride)
        return paper_loss(prediction, targets, smooth=self.options.smooth_box_loss)

    def cells(self, prediction: RawPrediction) -> Cells:
        """Return the best anchor's box of every cell above the confidence, unless a better neighbour's overlaps it.

        The score is the probability of a particle; with `class_in_score`, times that of its best class.
        """
        centres, edges = decode_boxes(prediction, self.anchors, self.output_stride)
        probability, class_ids = torch.softmax(prediction.classes, dim=2).max(dim=2)
        score = torch.sigmoid(prediction.objectness)
        if self.options.class_in_score:
            score = score * probability
        score = torch.where(score > self.options.confidence, score, torch.zeros_like(score))
        best, anchor = score.max(dim=1, keepdim=True)
        center = torch.gather(centres, 1, anchor.unsqueeze(2).expand(-1, -1, 3, -1, -1, -1)).squeeze(1)
        edge = torch.gather(edges, 1, anchor).squeeze(1)
        return Cells(
            scores=keep_peaks(best.squeeze(1), center, edge),
            class_ids=torch.gather(class_ids, 1, anchor).squeeze(1),
            centers=center,
            diameters=edge,
        )

    def class_rows(self) -> list[tuple[nn.Module, int]]:
        """Return the class layers of the head, one for each anchor."""
        return self.head.class_rows()

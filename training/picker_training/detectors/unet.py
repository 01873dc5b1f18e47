"""The rival `unet`: every voxel is background or of a class, learnt from balls around the particles' centres.

cubes ─ level 1 ─┐──────────────────────── concatenate ─ level 1 ─ head: a class for every voxel, 0 is background
                 └ level 2 ─┐── concatenate ─ level 2 ┘
                            └ ... deepest level ┘
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from picker_training.detectors.base import Cells, Detector, Loss, cell_centres
from picker_training.detectors.options import UNetOptions
from picker_training.loading import Batch

LEAK = 0.1
BACKGROUND_WEIGHT = 0.05
"""Of a background voxel in the cross-entropy; a voxel of the mean class has weight 1."""

BALL = 0.6
"""Radius of the balls that are labels over the particle's: touching particles stay two components."""

DEFAULT_RADIUS = 3.0
"""Voxels, of the balls of all classes until a network has heard how large these are."""

TIE = 1e-3
"""Weight of the probability smoothed over 3x3x3 beside that over 5x5x5."""

RARE = -4.0
"""Initial logit of the classes beside 0 of the background, so that the first steps are not spent on unlearning them."""


class Level(nn.Sequential):
    """Two convolutions of 3x3x3, each with BatchNorm and LeakyReLU."""

    def __init__(self, channels: int, out: int) -> None:
        layers: list[nn.Module] = []
        for source in (channels, out):
            layers += [
                nn.Conv3d(source, out, 3, 1, 1, bias=False),
                nn.BatchNorm3d(out),
                nn.LeakyReLU(LEAK, inplace=True),
            ]
        super().__init__(*layers)


class UNetDetector(Detector):
    """A 3D U-Net (Cicek et al., 2016): normalised cubes to logits `(n, 1 + classes, d, h, w)`, float32."""

    name: ClassVar[str] = "unet"
    alignment: ClassVar[int] = 8
    output_stride: ClassVar[int] = 1

    def __init__(self, classes: int, options: UNetOptions) -> None:
        super().__init__(classes, options)
        widths = options.widths
        self.down = nn.ModuleList(Level(a, b) for a, b in pairwise((1, *widths)))
        self.up = nn.ModuleList(Level(a + b, a) for a, b in reversed(list(pairwise(widths))))
        self.head = nn.Conv3d(widths[0], 1 + classes, 1)
        nn.init.constant_(self.head.bias[1:], RARE)  # type: ignore[index]
        radii = options.radii_voxels or (DEFAULT_RADIUS,) * classes
        if len(radii) != classes:
            raise ValueError(f"{len(radii)} radii for {classes} classes")
        self._label_with(torch.tensor(radii))

    def prepare(self, diameters_voxels: Tensor) -> None:
        """Take balls of a part of each class's size as labels, unless radii are given."""
        if not self.options.radii_voxels:
            self._label_with(0.5 * BALL * diameters_voxels)

    def _label_with(self, radii: Tensor) -> None:
        device = self.head.bias.device  # type: ignore[union-attr]
        self.register_buffer("radii", radii.float().to(device), persistent=False)
        self.register_buffer("class_weights", _class_weights(radii.tolist()).to(device), persistent=False)

    def forward(self, cubes: Tensor) -> Tensor:
        """Return the logits of every voxel, background first."""
        levels = []
        x = cubes
        for number, level in enumerate(self.down):
            x = level(x if number == 0 else functional.max_pool3d(x, 2))
            levels.append(x)
        for level, finer in zip(self.up, reversed(levels[:-1]), strict=True):
            x = level(torch.cat([finer, functional.interpolate(x, scale_factor=2.0, mode="nearest")], dim=1))
        logits: Tensor = self.head(x).float()
        return logits

    def loss(self, prediction: Tensor, batch: Batch, *, halo: int) -> Loss:
        """Return weighted cross-entropy plus Dice loss; nothing is learnt in the halo."""
        device = prediction.device
        _, _, d, h, w = prediction.shape
        core = (slice(halo, d - halo), slice(halo, h - halo), slice(halo, w - halo))
        balls = [
            ball_labels(p.to(device), c.to(device), self.radii, (d, h, w))  # type: ignore[arg-type]
            for p, c in zip(batch.positions, batch.class_ids, strict=True)
        ]
        labels = torch.stack([of_one[core] for of_one in balls])
        counts = _learnt(batch, (d, h, w), device)[(slice(None), *core)]
        logarithms = functional.log_softmax(prediction[(slice(None), slice(None), *core)], dim=1)
        own = logarithms.gather(1, labels.unsqueeze(1)).squeeze(1)
        weights = self.class_weights[labels] * counts  # type: ignore[index]
        parts = {
            "cross_entropy": -(own * weights).sum() / weights.sum().clamp(min=1.0),
            "dice": dice_loss(logarithms.exp(), labels, counts),
        }
        return Loss(parts, parts["cross_entropy"] + parts["dice"])

    def cells(self, prediction: Tensor) -> Cells:
        """Return the voxels where the probability of a particle, smoothed over 5x5x5, is highest within 5x5x5.

        Their score is that probability, not smoothed, so that small balls may reach 1, times the class's share of it.
        That is what fits a graph; `baselines.unet_picking` takes connected components instead.
        """
        probabilities = torch.softmax(prediction, dim=1)
        peak = 1.0 - probabilities[:, :1]
        particle = functional.avg_pool3d(peak, 5, 1, 2)
        height = particle + TIE * functional.avg_pool3d(peak, 3, 1, 1)  # the first is flat around a small ball
        highest = functional.max_pool3d(height, 5, 1, 2)
        best, classes = functional.avg_pool3d(probabilities[:, 1:], 5, 1, 2).max(dim=1, keepdim=True)
        scores = peak * best / particle.clamp(min=1e-6)
        n, _, d, h, w = prediction.shape
        centres = cell_centres((d, h, w), 1, prediction.device).permute(3, 0, 1, 2)
        return Cells(
            scores=torch.where(height >= highest, scores, torch.zeros_like(particle))[:, 0],
            class_ids=classes[:, 0],
            centers=centres.expand(n, 3, d, h, w),
        )

    def class_rows(self) -> list[tuple[nn.Module, int]]:
        """Return the head; background comes first."""
        return [(self.head, 1)]


def ball_labels(positions: Tensor, class_ids: Tensor, radii: Tensor, edges: Sequence[int]) -> Tensor:
    """Return each voxel's label `(d, h, w) int64`: class + 1 in a ball around a particle of it, else 0.

    positions: `(p, 3) zyx, voxels`. radii: by class, voxels. Where balls meet, the nearer centre counts.
    """
    labels = torch.zeros(tuple(edges), dtype=torch.long, device=positions.device)
    nearest = torch.full(tuple(edges), torch.inf, device=positions.device)
    for position, number in zip(positions, class_ids, strict=True):
        radius = float(radii[number])
        low = [max(math.ceil(p - radius), 0) for p in position.tolist()]
        high = [min(math.floor(p + radius) + 1, n) for p, n in zip(position.tolist(), edges, strict=True)]
        if any(stop <= start for start, stop in zip(low, high, strict=True)):
            continue
        spans = [torch.arange(a, b, device=positions.device) for a, b in zip(low, high, strict=True)]
        window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        grid = torch.stack(torch.meshgrid(*spans, indexing="ij"), dim=-1)
        distance = (grid - position).norm(dim=-1)
        mine = (distance <= radius) & (distance < nearest[window])
        labels[window] = torch.where(mine, number + 1, labels[window])
        nearest[window] = torch.where(mine, distance, nearest[window])
    return labels


def dice_loss(probabilities: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """Return 1 less the mean Dice coefficient (Milletari et al., 2016) of the classes in the batch, not of background.

    probabilities: `(n, 1 + classes, d, h, w)`. labels: `(n, d, h, w) int64`. counts: 0 where nothing is learnt.
    """
    classes = probabilities.shape[1]
    where = labels * (counts > 0)
    flat = where.reshape(-1)
    own = (probabilities.gather(1, where.unsqueeze(1)).squeeze(1) * counts).reshape(-1)
    zero = torch.zeros(classes, device=labels.device)
    shared = zero.index_add(0, flat, own)
    present = torch.bincount(flat, minlength=classes).float()
    claimed = torch.einsum("ncdhw,ndhw->c", probabilities, counts)
    dice = (2.0 * shared + 1.0) / (claimed + present + 1.0)
    kept = present > 0
    kept[0] = False
    return 1.0 - dice[kept].mean() if bool(kept.any()) else 1.0 - dice[1:].mean()


def _class_weights(radii: Sequence[float]) -> Tensor:
    """Return the weights of the labels: small classes count more, as the root of their volume."""
    weights = torch.tensor(radii, dtype=torch.float32) ** -1.5
    return torch.cat([torch.tensor([BACKGROUND_WEIGHT]), weights / weights.mean()])


def _learnt(batch: Batch, edges: tuple[int, int, int], device: torch.device) -> Tensor:
    """Return 1 for each voxel in which something is learnt, 0 in ignored balls and unknown voxels."""
    counts = torch.ones(len(batch.positions), *edges, device=device)
    for count, balls in zip(counts, batch.ignored, strict=False):
        for ball in balls.to(device):
            count[(cell_centres(edges, 1, device) - ball[:3]).norm(dim=-1) < ball[3]] = 0.0
    if batch.unknown is not None:
        counts[batch.unknown.to(device)] = 0.0
    return counts

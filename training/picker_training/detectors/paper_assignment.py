"""Assignment for `paper`: which predictions answer for which particles, and which have to say that there is nothing.

As published, a particle is learnt by the decoded prediction that overlaps it most, wherever its cell is, and the target
is the place in the particle's own cell. Whatever else overlaps a particle by more than a third is left alone: so much
do two equal cubes overlap that are half an edge apart.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from picker_training.detectors.base import cell_centres, cells_with
from picker_training.detectors.options import PaperOptions
from picker_training.detectors.paper_boxes import overlap
from picker_training.loading import Batch

IGNORED_OVERLAP = 0.333


@dataclass(frozen=True)
class BoxTargets:
    """What predictions have to say, over a batch of `(n, a, d, h, w)` predictions.

    positive: `(m,) int64` indices into all predictions, none twice. offset: `(m, 3)` zyx place in the cell, 0 to 1.
    size: `(m,)` logarithm of the particle's size over the anchor's. class_ids: `(m,) int64`.
    background: `(n, a, d, h, w) bool`.
    """

    positive: Tensor
    offset: Tensor
    size: Tensor
    class_ids: Tensor
    background: Tensor


@dataclass(frozen=True)
class Grid:
    """The predictions of one cube as a list: `shape` of anchors and cells, `anchors` and `stride` in voxels."""

    shape: tuple[int, int, int, int]
    anchors: Tensor
    stride: int

    def cells(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return each position's cell `(p, 3) int64` and its place in it `(p, 3)`, 0 to 1; positions in voxels."""
        scaled = (positions + 0.5) / self.stride
        cells = torch.floor(scaled)
        return cells.long(), scaled - cells

    def index(self, anchors: Tensor, cells: Tensor) -> Tensor:
        """Return the places in the list of anchors `(p,)` at cells `(p, 3)`."""
        _, d, h, w = self.shape
        z, y, x = cells.unbind(dim=1)
        return ((anchors * d + z) * h + y) * w + x

    def anchor_of(self, index: Tensor) -> Tensor:
        """Return the size in voxels of the anchor of each place in the list."""
        _, d, h, w = self.shape
        return self.anchors[index // (d * h * w)]


def assign_boxes(
    batch: Batch, boxes: tuple[Tensor, Tensor], sizes: Tensor, options: PaperOptions, *, halo: int, stride: int
) -> BoxTargets:
    """Make the targets of a batch from its particles and the boxes as they are predicted now.

    boxes: centres `(n, a, 3, d, h, w)` and edges `(n, a, d, h, w)`, voxels. sizes: of each class, `(classes,)` voxels.
    """
    centres, edges = boxes
    count, a, d, h, w = edges.shape
    grid = Grid((a, d, h, w), torch.tensor(options.anchors, device=edges.device), stride)
    core, known = _core(grid, halo, edges.device), _known(batch, grid, edges.device)
    learns = known & core if options.padding_left_out else known
    background = learns.unsqueeze(1).repeat(1, a, 1, 1, 1)
    parts = []
    for i in range(count):
        positions, class_ids = batch.positions[i].to(edges.device), batch.class_ids[i].to(edges.device)
        answers = _within(grid, positions, known[i] & core)
        overlaps = overlap(
            positions[:, None], sizes[class_ids][:, None], centres[i].movedim(1, -1).reshape(1, -1, 3),
            edges[i].reshape(1, -1),
        )  # fmt: skip
        guarding = overlaps if options.padding_particles_ignored else overlaps[answers]
        near = (guarding > IGNORED_OVERLAP).any(dim=0)
        chosen = _choose(
            grid, positions[answers], sizes[class_ids[answers]], overlaps[answers] * background[i].reshape(1, -1),
            own_cell=options.own_cell,
        )  # fmt: skip
        background[i] &= ~near.reshape(grid.shape)
        background[i].view(-1)[chosen] = False
        kept = ~(chosen[:, None] == chosen).triu(1).any(dim=1)  # of two particles with one prediction, the later one
        last, ids = positions[answers][kept], class_ids[answers][kept]
        size = torch.log(sizes[ids] / grid.anchor_of(chosen[kept]))
        parts.append((chosen[kept] + i * edges[i].numel(), grid.cells(last)[1], size, ids))
    positive, offset, size, class_ids = (torch.cat(part) for part in zip(*parts, strict=True))
    return BoxTargets(positive=positive, offset=offset, size=size, class_ids=class_ids, background=background)


def _choose(grid: Grid, positions: Tensor, sizes: Tensor, overlaps: Tensor, *, own_cell: bool) -> Tensor:
    """Return the prediction that learns each particle, `(p,) int64`.

    overlaps: `(p, a * d * h * w)`, 0 where nothing is learnt. A particle that none overlaps is learnt in its own cell,
    by the anchor that is most like it, and with `own_cell` every one is.
    """
    anchor = torch.log(sizes[:, None] / grid.anchors).abs().argmin(dim=1)
    own = grid.index(anchor, grid.cells(positions)[0])
    if own_cell or len(positions) == 0:
        return own
    most, best = overlaps.max(dim=1)
    return torch.where(most > 0, best, own)


def _within(grid: Grid, positions: Tensor, counted: Tensor) -> Tensor:
    """Tell which positions lie in cells `(d, h, w) bool` that count."""
    cells, _ = grid.cells(positions)
    limits = torch.tensor(grid.shape[1:], device=positions.device)
    inside = ((cells >= 0) & (cells < limits)).all(dim=1)
    z, y, x = torch.minimum(cells.clamp(min=0), limits - 1).unbind(dim=1)
    return inside & counted[z, y, x]


def _core(grid: Grid, halo: int, device: torch.device) -> Tensor:
    """Return the cells of a cube without its padding, `(d, h, w) bool`."""
    _, d, h, w = grid.shape
    ring = halo // grid.stride
    core = torch.zeros((d, h, w), dtype=torch.bool, device=device)
    core[ring : d - ring, ring : h - ring, ring : w - ring] = True
    return core


def _known(batch: Batch, grid: Grid, device: torch.device) -> Tensor:
    """Return the cells `(n, d, h, w) bool` that are outside ignored balls and hold no unknown voxel."""
    _, d, h, w = grid.shape
    centres = cell_centres((d, h, w), grid.stride, device)
    known = torch.ones((len(batch.positions), d, h, w), dtype=torch.bool, device=device)
    for cells, balls in zip(known, batch.ignored, strict=False):
        for ball in balls.to(device):
            cells &= (centres - ball[:3]).norm(dim=-1) >= ball[3]
    return known if batch.unknown is None else known & ~cells_with(batch.unknown.to(device), grid.stride)

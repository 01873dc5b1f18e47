"""Task-aligned assignment: a particle is learnt by the cells that already say best which it is and where.

Alignment of a cell with a particle is score^ALPHA x similarity^BETA (Feng et al., TOOD, 2021, eq. 2); in place of the
overlap of boxes, similarity is exp(-d^2 / 2r^2), d from the predicted to the true centre and r the particle's radius.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from picker_training.detectors.assignment import Targets
from picker_training.detectors.base import cell_centres

CELLS = 13
ALPHA = 1.0
BETA = 6.0
LEAST_SIMILARITY = 0.05


def realign(
    targets: Targets,
    scores: Tensor,
    offset: Tensor,
    positions: Sequence[Tensor],
    class_ids: Sequence[Tensor],
    diameters_voxels: Tensor,
    stride: int,
) -> Targets:
    """Return the targets with objectness and weights moved to the best aligned cells; what counts stays.

    scores: `(n, classes, d, h, w)` probabilities. offset: `(n, 3, d, h, w)` predicted, voxels. positions and class_ids
    per cube. Objectness of a particle's cells is their alignment, scaled so that the best gets its similarity.
    """
    _, d, h, w = targets.objectness.shape
    cells = cell_centres((d, h, w), stride, offset.device).reshape(-1, 3)
    radii = diameters_voxels.to(offset.device) / 2.0
    made = [
        _realign_one(s.flatten(1), cells, cells + o.flatten(1).T, p.to(cells), c.to(cells.device), radii)
        for s, o, p, c in zip(scores, offset, positions, class_ids, strict=True)
    ]
    quality, classes, offsets = (torch.stack(parts) for parts in zip(*made, strict=True))
    quality = quality.reshape(targets.objectness.shape)
    return replace(
        targets,
        objectness=quality,
        near=quality,
        class_ids=classes.reshape(targets.class_ids.shape),
        offset=offsets.reshape(targets.offset.shape),
    )


def _realign_one(
    scores: Tensor, cells: Tensor, predicted: Tensor, positions: Tensor, class_ids: Tensor, radii: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return quality `(cells,)`, class `(cells,)` and offset `(3, cells)` of one cube."""
    if len(positions) == 0:
        zero = torch.zeros(len(cells), device=cells.device)
        return zero, zero.long(), zero.expand(3, -1)
    distance = torch.cdist(positions, predicted)  # (particles, cells)
    similarity = torch.exp(-(distance**2) / (2.0 * radii[class_ids, None] ** 2))
    alignment = scores[class_ids] ** ALPHA * similarity**BETA
    alignment = torch.where(similarity >= LEAST_SIMILARITY, alignment, torch.zeros_like(alignment))
    best, index = alignment.topk(min(CELLS, alignment.shape[1]), dim=1)
    kept = torch.zeros_like(alignment).scatter(1, index, best)
    taken, owner = torch.where(kept > 0, similarity, torch.zeros_like(similarity)).max(dim=0)
    rows = torch.arange(len(positions), device=cells.device)[:, None]
    kept = torch.where((owner == rows) & (taken > 0), kept, torch.zeros_like(kept))
    scale = (similarity * (kept > 0)).amax(dim=1) / kept.amax(dim=1).clamp(min=1e-9)
    quality = (kept * scale[:, None]).amax(dim=0)
    return quality, class_ids[owner], (positions[owner] - cells).T

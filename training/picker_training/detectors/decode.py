"""Decoding: from raw voxels to candidates inside one graph, so that what is exported is what detects."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from picker_training.detectors.assignment import cell_centres
from picker_training.detectors.point import PointDetector, Prediction

CLIP = 5.0
"""Normalised voxel values are clipped to plus and minus this."""


class DecodedDetector(nn.Module):
    """A network with its normalisation before and its decoding behind it.

    in: `cubes (n, 1, d, h, w)` voxel values as stored, `mean (n,)`, `inverse_std (n,)`.
    out: `centers (n, k, 3)` zyx voxels in the cube, `diameters (n, k)` voxels, `scores (n, k)` descending,
    `class_ids (n, k) int32`; slots with score 0 mean nothing.
    """

    def __init__(self, network: PointDetector, diameters_voxels: Tensor, max_candidates: int) -> None:
        super().__init__()
        self.network = network
        self.max_candidates = max_candidates
        self.register_buffer("diameters", diameters_voxels.float())

    def forward(self, cubes: Tensor, mean: Tensor, inverse_std: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return centres, diameters, scores and classes of the best candidates of each cube."""
        prediction = self.network(normalise(cubes, mean, inverse_std))
        scores, classes = score_cells(prediction)
        n, d, h, w = scores.shape
        top, index = torch.topk(scores.reshape(n, -1), self.max_candidates, dim=1)
        cells = cell_centres((d, h, w), cubes.device).permute(3, 0, 1, 2)  # (3, d, h, w)
        points = (prediction.offset + cells).reshape(n, 3, -1)
        centers = torch.gather(points, 2, index.unsqueeze(1).expand(-1, 3, -1)).transpose(1, 2)
        class_ids = torch.gather(classes.reshape(n, -1), 1, index)
        return centers, self.diameters[class_ids], top, class_ids.to(torch.int32)  # type: ignore[index]


def normalise(cubes: Tensor, mean: Tensor, inverse_std: Tensor) -> Tensor:
    """Return `(cubes - mean) * inverse_std` clipped to plus and minus `CLIP`, in float32."""
    shape = (-1, 1, 1, 1, 1)
    return ((cubes - mean.reshape(shape)) * inverse_std.reshape(shape)).clamp(-CLIP, CLIP)


def score_cells(prediction: Prediction) -> tuple[Tensor, Tensor]:
    """Return each cell's score (0 where its objectness is no 3x3x3 peak) and its best class, `(n, d, h, w)`.

    The score is the probability of a particle times that of its best class.
    """
    objectness = torch.sigmoid(prediction.objectness)
    neighbourhood = functional.max_pool3d(objectness.unsqueeze(1), 3, 1, 1).squeeze(1)
    best, classes = torch.softmax(prediction.classes, dim=1).max(dim=1)
    return torch.where(objectness >= neighbourhood, objectness * best, torch.zeros_like(best)), classes

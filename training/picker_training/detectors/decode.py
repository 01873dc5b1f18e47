"""Decoding: from raw voxels to candidates inside one graph, so that what is exported is what detects."""

import torch
from torch import Tensor, nn

from picker_training.augmentation import CLIP
from picker_training.detectors.base import Detector


class DecodedDetector(nn.Module):
    """A network with its normalisation before and its decoding behind it.

    in: `cubes (n, 1, d, h, w)` voxel values as stored, `mean (n,)`, `inverse_std (n,)`.
    out: `centers (n, k, 3)` zyx voxels in the cube, `diameters (n, k)` voxels, `scores (n, k)` descending,
    `class_ids (n, k) int32`; slots with score 0 mean nothing.
    """

    def __init__(self, network: Detector, diameters_voxels: Tensor, max_candidates: int) -> None:
        super().__init__()
        self.network = network
        self.max_candidates = max_candidates
        self.register_buffer("diameters", diameters_voxels.float())

    def forward(self, cubes: Tensor, mean: Tensor, inverse_std: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return centres, diameters, scores and classes of the best candidates of each cube."""
        found = self.network.cells(self.network(normalise(cubes, mean, inverse_std)))
        count = cubes.shape[0]
        top, index = torch.topk(found.scores.reshape(count, -1), self.max_candidates, dim=1)
        points = found.centers.reshape(count, 3, -1)
        centers = torch.gather(points, 2, index.unsqueeze(1).expand(-1, 3, -1)).transpose(1, 2)
        class_ids = torch.gather(found.class_ids.reshape(count, -1), 1, index)
        if found.diameters is None:
            diameters = self.diameters[class_ids]  # type: ignore[index]
        else:
            diameters = torch.gather(found.diameters.reshape(count, -1), 1, index)
        return centers, diameters, top, class_ids.to(torch.int32)


def normalise(cubes: Tensor, mean: Tensor, inverse_std: Tensor) -> Tensor:
    """Return `(cubes - mean) * inverse_std` clipped to plus and minus `CLIP`, in float32."""
    shape = (-1, 1, 1, 1, 1)
    return ((cubes - mean.reshape(shape)) * inverse_std.reshape(shape)).clamp(-CLIP, CLIP)

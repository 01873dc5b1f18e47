"""The card of a network in training: what detection needs to know before the export has measured the rest."""

import colorsys

import torch
from torch import Tensor

from picker_runtime.card import ModelCard, ParticleClass
from picker_runtime.intensity import RECIPE
from picker_training.config import TrainingConfig
from picker_training.detectors.decode import DecodedDetector
from picker_training.detectors.point import ALIGNMENT, OUTPUT_STRIDE, PointDetector

MAX_CANDIDATES = 2048
CANDIDATE_FLOOR = 0.05
NMS_FRACTION = 0.5
"""Two picks closer than half the mean of their diameters are one particle: its mask could not hold both centres."""

DRAFT_THRESHOLD = 0.25
DRAFT_HALO = 16
TILE = (232, 160, 160)
"""Bounds of a cube at detection: z whole for tomograms of up to 200 voxels, memory under 1.5 GB."""


def draft_card(config: TrainingConfig, diameters_angstrom: dict[str, float]) -> ModelCard:
    """Return a card with untuned thresholds and halo, good enough to validate with; it names no files."""
    names = config.model.classes
    return ModelCard(
        name=config.model.name,
        version="0",
        licence="Apache-2.0",
        classes=tuple(
            ParticleClass(
                name=name,
                diameter_angstrom=round(diameters_angstrom[name], 1),
                threshold=DRAFT_THRESHOLD,
                colour=_colour(i, len(names)),
            )
            for i, name in enumerate(names)
        ),
        voxel_size_angstrom=config.model.voxel_size_angstrom,
        polarity="dark",
        output_stride=OUTPUT_STRIDE,
        alignment=ALIGNMENT,
        halo=DRAFT_HALO,
        halo_curve={},
        tile=TILE,
        max_candidates=MAX_CANDIDATES,
        candidate_floor=CANDIDATE_FLOOR,
        nms_fraction=NMS_FRACTION,
        statistics=RECIPE,
        files={},
    )


def decoded(network: PointDetector, card: ModelCard) -> DecodedDetector:
    """Return the network with the decoding that its card describes."""
    return DecodedDetector(network, diameters_voxels(card), card.max_candidates).eval()


def diameters_voxels(card: ModelCard) -> Tensor:
    """Return each class's diameter in voxels of the model's grid, `(classes,) float32`."""
    return torch.tensor([c.diameter_angstrom / card.voxel_size_angstrom for c in card.classes])


def _colour(index: int, count: int) -> str:
    red, green, blue = colorsys.hsv_to_rgb(index / count, 0.75, 0.95)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"

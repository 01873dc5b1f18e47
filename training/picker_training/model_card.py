"""The card of a network in training: what detection needs to know before the export has measured the rest."""

import colorsys
import math

import torch
from torch import Tensor

from picker_runtime.bundle import Bundle
from picker_runtime.card import ModelCard, ParticleClass
from picker_runtime.errors import ModelError
from picker_runtime.geometry import Triple
from picker_runtime.intensity import RECIPE
from picker_training.config import TrainingConfig
from picker_training.detectors.base import Detector
from picker_training.detectors.decode import DecodedDetector
from picker_training.detectors.registry import DETECTORS, rebuild

MAX_CANDIDATES = 2048
CANDIDATE_FLOOR = 0.05
DRAFT_THRESHOLD = 0.25
DRAFT_HALO = 16
TILE_VOXELS = 14_000_000
"""Most voxels of a cube: `point` in size s then takes 1.2 GB in all. Larger ones lose less at seams."""

WEIGHTS = "weights.safetensors"


def draft_card(config: TrainingConfig, diameters_angstrom: dict[str, float]) -> ModelCard:
    """Return a card with untuned thresholds and halo, good enough to validate with; it names no files."""
    names = config.model.classes
    detector, _ = DETECTORS[config.model.detector]
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
        output_stride=detector.output_stride,
        alignment=detector.alignment,
        halo=DRAFT_HALO,
        halo_curve={},
        margin=config.data.halo,
        tile=tile_for(detector.alignment),
        max_candidates=MAX_CANDIDATES,
        candidate_floor=CANDIDATE_FLOOR,
        nms_fraction=detector.nms_fraction,
        statistics=RECIPE,
        files={},
    )


def tile_for(alignment: int) -> Triple:
    """Return the edges of the largest cube, in voxels, multiples of the alignment; tomograms get others, no larger."""
    edge = int(math.cbrt(TILE_VOXELS)) // alignment * alignment
    return edge, edge, edge


def load_network(bundle: Bundle) -> Detector:
    """Return the network of a bundle with its weights as they were trained, BatchNorm not folded.

    Raises:
        ModelError: E51 if the card does not describe its network or comes without weights.
    """
    facts = bundle.card.training.get("architecture", {})
    try:
        network = rebuild(facts, len(bundle.card.classes))
    except (KeyError, TypeError, ValueError) as error:
        problem = f"its card does not describe a network that picker knows ({error})"
        raise ModelError(51, bundle.folder.name, problem, "use a bundle that picker-export wrote") from error
    from safetensors.torch import load_file

    if WEIGHTS not in bundle.card.files:
        raise ModelError(51, bundle.folder.name, f"no {WEIGHTS}", "use a bundle that picker-export wrote")
    network.load_state_dict(load_file(bundle.folder / WEIGHTS))
    return network.eval()


def decoded(network: Detector, card: ModelCard) -> DecodedDetector:
    """Return the network with the decoding that its card describes, on the network's device."""
    device = next(network.parameters()).device
    return DecodedDetector(network, diameters_voxels(card).to(device), card.max_candidates).eval()


def diameters_voxels(card: ModelCard) -> Tensor:
    """Return each class's diameter in voxels of the model's grid, `(classes,) float32`."""
    return torch.tensor([c.diameter_angstrom / card.voxel_size_angstrom for c in card.classes])


def _colour(index: int, count: int) -> str:
    red, green, blue = colorsys.hsv_to_rgb(index / count, 0.75, 0.95)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"

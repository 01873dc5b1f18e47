"""Facts: what a bundle says about itself, of its training and in its README."""

import json
from pathlib import Path
from typing import Any

from picker_runtime.card import ModelCard
from picker_training.config import TrainingConfig
from picker_training.detectors.base import Detector
from picker_training.run_terms import BEGUN_WITH

BEGUN = "begun_with"
"""Key of what the run began with, among a card's facts about its training."""
LICENCE = "Apache-2.0"
"""Of weights that are nobody else's."""


def training_facts(config: TrainingConfig, network: Detector, step: int) -> dict[str, Any]:
    """Return how a run trained, and on what."""
    facts: dict[str, Any] = {"steps": step, "batch": config.optimiser.batch, "crop": config.data.crop}
    facts["architecture"] = network.facts()
    if config.picks.tomograms:
        return {"data": f"tomograms of {Path(config.picks.tomograms).name}, annotated in picks files", **facts}
    if config.annotated.shrec:
        name = Path(config.annotated.shrec).name
        but = f", without {', '.join(config.annotated.held_out)}" if config.annotated.held_out else ""
        return {"data": f"annotated tomograms of {name}{but}", **facts}
    return {
        "data": f"simulated scenes of seed {config.seed}, drawn anew from {config.data.scenes} specimens",
        "snr": list(config.data.snr),
        "unlabelled_maps": list(config.data.strangers),
        **facts,
    }


def origin(run: Path) -> dict[str, Any]:
    """Return what the run began with, if it began with the weights of another model."""
    note = run / BEGUN_WITH
    return {BEGUN: json.loads(note.read_text("utf-8"))} if note.exists() else {}


def licence_of(begun: dict[str, Any], given: str | None) -> str:
    """Return the licence of a bundle: the given one, else that of what its run began with."""
    return given or str(begun.get(BEGUN, {}).get("licence", LICENCE))


def describe(card: ModelCard) -> str:
    """Return the README of a bundle: what it finds, how it was trained and what was measured."""
    rows = "\n".join(f"| {c.name} | {c.diameter_angstrom:.0f} | {c.threshold:.2f} |" for c in card.classes)
    facts = "\n".join(f"- {key}: {value}" for key, value in card.training.items())
    metrics = json.dumps(card.metrics, indent=2)
    return (
        f"# {card.name} {card.version}\n\n"
        f"Finds {len(card.classes)} kinds of {card.polarity} particles in tomograms of "
        f"{card.voxel_size_angstrom:g} A voxels. Licence: {card.licence}.\n\n"
        f"{_caution(card)}\n\n"
        f"| class | diameter (A) | threshold |\n| --- | --- | --- |\n{rows}\n\n## Training\n\n{facts}\n\n"
        f"## Halo\n\n{card.halo} voxels; agreement with whole-volume inference by halo: {card.halo_curve}\n\n"
        f"## Measured\n\n```json\n{metrics}\n```\n"
    )


def _caution(card: ModelCard) -> str:
    if str(card.training.get("data", "")).startswith("simulated"):
        return "It was trained and measured on simulated tomograms only; its accuracy on real data is not known."
    return "Its accuracy is known for tomograms like those it was trained on, and for no others."

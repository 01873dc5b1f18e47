"""Starting configurations: what a run begins with, by name; a detector brings the data and the training it suits."""

from dataclasses import fields

from picker_training.config import DataSection, ModelSection, OptimiserSection, TrainingConfig
from picker_training.detectors.options import MENDED, PaperOptions


def starting_config(name: str) -> TrainingConfig:
    """Return a configuration of `STARTING`.

    Raises:
        KeyError: if there is none of this name.
    """
    return STARTING[name]


def _paper(options: PaperOptions) -> TrainingConfig:
    """Return the published training: cubes of 64 with 8 of padding, 32 at a time, Adam, no warm-up, no average.

    Steps: 150 epochs of eight tomograms of 484 cubes. Augmentation is published as off; mirroring stays on, as for
    every detector here.
    """
    return TrainingConfig(
        model=ModelSection(name="paper", detector="paper"),
        paper=options,
        data=DataSection(crop=64, halo=8, turn_probability=0.0),
        optimiser=OptimiserSection(
            kind="adam", steps=18_000, batch=32, learning_rate=1e-3, warmup=0, weight_decay=0.0,
            clip_norm=float("inf"), average=0.0,
        ),
    )  # fmt: skip


STARTING = {
    "point": TrainingConfig(),
    "unet": TrainingConfig(model=ModelSection(name="unet", detector="unet")),
    "paper": _paper(PaperOptions()),
    "paper-mended": _paper(MENDED),
}
"""By name: a detector's own, or of a variant of it."""


def is_variant(config: TrainingConfig, name: str) -> bool:
    """Tell whether a configuration trains the detector of this name: `paper` is not `paper-mended`."""
    start = STARTING[name]
    mended = [
        field.name for field in fields(MENDED) if getattr(MENDED, field.name) != getattr(PaperOptions(), field.name)
    ]
    alike = all(getattr(config.paper, option) == getattr(start.paper, option) for option in mended)
    return config.model.detector == start.model.detector and (alike or start.model.detector != "paper")

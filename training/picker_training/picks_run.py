"""A run on one's own tomograms: what is wrong with them, and the configuration that trains on them."""

from dataclasses import fields, replace
from pathlib import Path

from picker_runtime.card import NAME, ModelCard
from picker_runtime.errors import UsageError
from picker_training.config import DETECTORS, OptimiserSection, TrainingConfig
from picker_training.datasets import picked_tomograms
from picker_training.datasets.findings import Finding
from picker_training.datasets.lint import Expectations, lint
from picker_training.datasets.picks import Annotations
from picker_training.picks_section import PicksSection

FINE_TUNING = OptimiserSection(
    steps=1200, learning_rate=1e-3, warmup=50, average=0.99, checkpoint_every=50, validate_every=200
)
"""In place of the defaults where a run begins with a model's weights."""


def judge(
    section: PicksSection, annotations: Annotations, *, classes: tuple[str, ...], card: ModelCard | None
) -> list[Finding]:
    """Return what is wrong with picks and tomograms.

    classes: those that may be found in the files; empty for any. card: of the model to hold them against.
    """
    renamed = section.new_names().values()
    of_model = {c.name: c.diameter_angstrom for c in card.classes} if card else {}
    expected = Expectations(
        classes=tuple(dict.fromkeys([*classes, *renamed, *section.background, *section.ignored])) if classes else (),
        diameters=picked_tomograms.known_diameters(annotations, section, of_model),
        voxel_size=card.voxel_size_angstrom if card else 0.0,
        polarity=card.polarity if card else "dark",
    )
    return lint(annotations, section, expected)


def configure(
    config: TrainingConfig,
    section: PicksSection,
    annotations: Annotations,
    *,
    classes: tuple[str, ...],
    card: ModelCard | None,
) -> TrainingConfig:
    """Return the configuration of a run on tomograms without errors: its classes and voxel size are theirs.

    classes: as named by the user, who wants picks of each. card: of the model whose weights the run begins with.

    Raises:
        UsageError: E80 if a class has no picks or no known diameter, or the validation tomogram is not there.
    """
    order = classes or (card.class_names if card else ())
    found = picked_tomograms.class_names(annotations, section, order=order)
    for name in classes:
        if name not in {*found, *section.background, *section.ignored}:
            raise UsageError(80, f"--class {name}", "no picks of it in any file", f"give some, or leave {name} out")
    of_model = {c.name: c.diameter_angstrom for c in card.classes} if card else {}
    diameters = picked_tomograms.known_diameters(annotations, section, of_model)
    named = annotations.named
    sizes = [file.voxel_size for name, file in annotations.tomograms.items() if name in named]
    model = replace(
        config.model, classes=found,
        voxel_size_angstrom=card.voxel_size_angstrom if card else round(sizes[0], 4),
    )  # fmt: skip
    return replace(config, model=model, picks=picked_tomograms.complete(section, annotations, found, diameters))


def name_of(run: Path) -> str:
    """Return the name of a model that is trained in a folder: the folder's, if a model can be called so."""
    name = run.resolve().name.lower()
    return name if NAME.fullmatch(name) else "own"


def fresh_config(run: Path, card: ModelCard | None) -> TrainingConfig:
    """Return what a new run begins with that has no configuration file: the shape of a model's network, if given."""
    config = TrainingConfig()
    config = replace(config, model=replace(config.model, name=name_of(run)))
    if card is None:
        return config
    facts = dict(card.training.get("architecture") or {})
    detector = facts.pop("detector", "")
    if detector not in DETECTORS:
        problem = "its card does not say of which shape its network is"
        raise UsageError(83, card.name, problem, "begin with a bundle that picker-export wrote")
    options = getattr(config, detector)
    known = {f.name for f in fields(options)}
    chosen = {key: tuple(v) if isinstance(v, list) else v for key, v in facts.items() if key in known}
    return replace(
        config, model=replace(config.model, detector=detector), optimiser=FINE_TUNING,
        **{detector: replace(options, **chosen)},
    )  # fmt: skip

"""The entries of a benchmark by name: what each trains with, or that it does not train."""

import difflib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from picker_runtime.errors import UsageError
from picker_training.benchmarking.learned import LearnedMethod, UNetMethod
from picker_training.benchmarking.method import Method, Work
from picker_training.benchmarking.untrained import BlobMethod, TemplateMatchingMethod
from picker_training.config import ModelSection, TrainingConfig
from picker_training.detectors.options import MENDED, PaperOptions, UNetOptions, with_size
from picker_training.detectors.unet import BALL
from picker_training.starting import starting_config

UNET_WIDTHS = {"unet": (8, 16, 32, 64), "unet-wide": (16, 32, 64, 128)}
"""`unet` takes as many operations as `point-s`, `unet-wide` four times as many."""


def base_config(work: Work) -> TrainingConfig:
    """Return the defaults on the scenes of a protocol: its classes and SNRs."""
    protocol = work.scenes.protocol
    config = TrainingConfig()
    return replace(
        config,
        seed=work.seed,
        model=ModelSection(name="benchmark", classes=protocol.classes, voxel_size_angstrom=protocol.spec.voxel_size),
        data=replace(config.data, snr=protocol.training_snrs),
    )


def _point(work: Work, templates: Path, size: str) -> Method:
    config = base_config(work)
    return LearnedMethod(work, replace(config, point=with_size(config.point, size)))


def _unet(work: Work, templates: Path, name: str) -> Method:
    config = base_config(work)
    radii = BALL * work.diameters_angstrom / work.scenes.protocol.spec.voxel_size / 2.0
    options = UNetOptions(widths=UNET_WIDTHS[name], radii_voxels=tuple(round(r, 3) for r in radii.tolist()))
    return UNetMethod(work, replace(config, model=replace(config.model, detector="unet"), unet=options))


def _paper(work: Work, templates: Path, options: PaperOptions) -> Method:
    """Return the published network and training, its width and its batch those of the protocol's part."""
    part = work.scenes.protocol.paper_width
    config, published = base_config(work), starting_config("paper")
    return LearnedMethod(
        work,
        replace(
            config,
            model=replace(config.model, detector="paper"),
            paper=replace(options, width=round(options.width * part)),
            data=replace(published.data, snr=config.data.snr),
            optimiser=replace(published.optimiser, batch=round(published.optimiser.batch * part)),
        ),
    )


ENTRIES: dict[str, Callable[[Work, Path], Method]] = {
    "paper": lambda work, templates: _paper(work, templates, PaperOptions()),
    "paper-mended": lambda work, templates: _paper(work, templates, MENDED),
    "point-n": lambda work, templates: _point(work, templates, "n"),
    "point-s": lambda work, templates: _point(work, templates, "s"),
    "point-m": lambda work, templates: _point(work, templates, "m"),
    "unet": lambda work, templates: _unet(work, templates, "unet"),
    "unet-wide": lambda work, templates: _unet(work, templates, "unet-wide"),
    "template-matching": TemplateMatchingMethod,
    "log": lambda work, templates: BlobMethod(work),
}
"""A method for each, made from its work and the folder of templates."""

UNTRAINED = ("template-matching", "log")
"""Entries without a network: one row, whatever the seeds."""


def check_entries(names: list[str]) -> list[str]:
    """Return the entries asked for, all of them if none is.

    Raises:
        UsageError: E80 if there is no entry of a name.
    """
    for name in names:
        if name not in ENTRIES:
            near = difflib.get_close_matches(name, ENTRIES, n=1)
            fix = f"did you mean {near[0]!r}" if near else f"give one of {', '.join(ENTRIES)}"
            raise UsageError(80, f"--detector {name}", "no such detector or baseline", fix)
    return names or list(ENTRIES)

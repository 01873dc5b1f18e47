"""The options of `picker-training fit`, and the configuration that follows from them."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from picker_runtime.errors import UsageError
from picker_training.evaluation.rules import Rule

if TYPE_CHECKING:
    from picker_training.config import TrainingConfig
    from picker_training.datasets.findings import Finding
    from picker_training.picks_options import PicksOptions

SPELLINGS = {"classes": "class"}
"""Options whose names on the command line are not those of their fields."""

Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="RUN", help="The run's folder; goes on if begun.")
]
Templates = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Density maps or atomic models of the classes, to simulate scenes.")
]
Validation = Annotated[
    str | None, typer.Option(metavar="NAME", help="The tomogram that judges the run; default: the last not held out.")
]
Config = Annotated[Path | None, typer.Option(metavar="TOML", help="Configuration; default: the run's own.")]
From = Annotated[
    str | None, typer.Option("--from", metavar="MODEL", help="Begin with a model's weights: a name or a folder.")
]
Steps = Annotated[int | None, typer.Option(min=1, help="Steps in all, in place of the configuration's.")]
Minutes = Annotated[float, typer.Option(min=0, help="Stop after so long; the same call goes on.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or auto.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads of the network.")]
Size = Annotated[str | None, typer.Option(metavar="n|s|m", help="Of the detector `point`; default: s, or the run's.")]
DetectorName = Annotated[
    str | None,
    typer.Option("--detector", metavar="NAME", help="Begin as suits it: point, unet, paper or paper-mended."),
]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Print the configuration and stop.")]


@dataclass(frozen=True, kw_only=True)
class ShrecOptions:
    """What the command line says of a data set in SHREC layout; each field is an option."""

    shrec: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Train on tomograms in SHREC layout, DIR/model_0 ..., instead.")
    ] = None
    year: Annotated[
        int, typer.Option(help="--shrec: of the challenge; 2019: lists are `class z y x`; chooses --rule.")
    ] = 0
    z_offset: Annotated[
        int | None,
        typer.Option(min=0, help="--shrec: slices of the reconstructions below the lists' z = 0; else judged."),
    ] = None
    held_out: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="--shrec: not trained on; picked and scored at the end; repeatable."),
    ] = None
    rule: Annotated[
        Rule | None, typer.Option(help="--held-out: how its picks are scored; default: that of --year, or shrec2020.")
    ] = None


def resolve(
    run: Path | None,
    file: Path | None,
    *,
    data_set: ShrecOptions,
    own: "PicksOptions",
    validation: str | None,
    start: str | None,
    steps: int | None,
    detector: str | None = None,
    size: str | None = None,
) -> "tuple[TrainingConfig, list[Finding]]":
    """Return the configuration of a run: a file, else what lies in its folder, else the defaults; options win.

    The classes of a data set are those of its particle lists, and its voxel size that of its headers, unless a file or
    the run itself says them; those of
    one's own tomograms are those of the picks files, with what is wrong with them. After an error there the
    configuration is not complete.

    Raises:
        InputError: E46 if the data set is not readable.
        UsageError: E80 if options contradict each other, or a named tomogram is not there; E83 if the configuration is
            not valid.
    """
    if own.given and data_set != ShrecOptions():
        raise UsageError(80, "--tomograms", "given with --shrec or an option of it", "choose one kind of data")
    _check_named(data_set, own, validation)
    stored = run / "config.toml" if run else None
    path = file or (stored if stored and stored.exists() else None)
    config = _begun(path, detector)
    findings: list[Finding] = []
    if data_set.shrec is not None:
        fresh = None if path else run or data_set.shrec
        config = _with_data_set(config, data_set, data_set.shrec, validation=validation, fresh=fresh)
    if own.given:
        begun = config if path or detector else None
        config, findings = _with_own(begun, run or Path("own"), own, validation=validation, start=start)
    if steps is not None:
        config = replace(config, optimiser=replace(config.optimiser, steps=steps))
    return sized(config, size), findings


def _check_named(data_set: ShrecOptions, own: "PicksOptions", validation: str | None) -> None:
    """Check that options about data come with the data; `--rule` serves a run that has its own, too.

    Raises:
        UsageError: E80, naming one that does not.
    """
    stray = []
    if data_set.shrec is None:
        stray += [(name, "--shrec DIR") for name in _given(replace(data_set, rule=None))]
    if not own.given:
        stray += [(name, "--tomograms DIR and --picks FILE") for name in _given(own)]
    if validation is not None and data_set.shrec is None and not own.given:
        stray.append(("validation", "--shrec DIR, or --tomograms DIR and --picks FILE"))
    if stray:
        name, needed = stray[0]
        option = f"--{SPELLINGS.get(name, name).replace('_', '-')}"
        raise UsageError(80, option, f"says nothing without {needed}", f"add {needed}, or leave it out")


def _given(options: "ShrecOptions | PicksOptions") -> list[str]:
    """Return the names of the options that are not at their defaults."""
    return [entry.name for entry in fields(options) if getattr(options, entry.name) != entry.default]


def _begun(path: Path | None, detector: str | None) -> "TrainingConfig":
    """Return the configuration in a file, else the one that a detector starts with, else the defaults."""
    from picker_training.config import load_config
    from picker_training.starting import STARTING, is_variant

    if detector is not None and detector not in STARTING:
        raise UsageError(80, f"--detector {detector}", "no such detector", f"give one of {', '.join(STARTING)}")
    if path is None:
        return STARTING[detector or "point"]
    config = load_config(path)
    if detector is not None and not is_variant(config, detector):
        problem = f"{path} has the detector {config.model.detector}, with other options"
        if config.model.detector != STARTING[detector].model.detector:
            problem = f"{path} has the detector {config.model.detector}"
        raise UsageError(80, f"--detector {detector}", problem, "leave --detector out, or give another folder with -o")
    return config


def _with_data_set(
    config: "TrainingConfig", options: ShrecOptions, folder: Path, *, validation: str | None, fresh: Path | None
) -> "TrainingConfig":
    """Return the configuration that trains on a data set in SHREC layout.

    fresh: the folder after which the model is named that takes its classes and voxel size from the data; None if the
    configuration says all that.
    """
    from picker_training import picks_run
    from picker_training.datasets import shrec_tomograms

    section = shrec_tomograms.begin(
        folder, year=options.year, validation=validation, held_out=tuple(options.held_out or ())
    )
    section = replace(
        section,
        z_offset=-1 if options.z_offset is None else options.z_offset,
        ignored=config.annotated.ignored,
        background=config.annotated.background,
    )
    config = replace(config, annotated=section)
    if fresh is None:
        return config
    size = shrec_tomograms.header_voxel_size(folder / section.validation)
    model = replace(
        config.model, name=picks_run.name_of(fresh), classes=shrec_tomograms.class_names(section),
        voxel_size_angstrom=size or config.model.voxel_size_angstrom,
    )  # fmt: skip
    return replace(config, model=model)


def _with_own(
    config: "TrainingConfig | None", run: Path, own: "PicksOptions", *, validation: str | None, start: str | None
) -> "tuple[TrainingConfig, list[Finding]]":
    """Return the configuration that trains on one's own tomograms, and what lint finds there.

    config: of a file or of the run itself; None for a new run without.
    """
    from picker_runtime.bundle import Bundle
    from picker_training import picks_run
    from picker_training.config import is_misnamed
    from picker_training.datasets.picks import read_annotations

    card = Bundle.open(start).card if start is not None else None
    config = config or picks_run.fresh_config(run, card)
    section = own.section(validation=validation or "")
    annotations = read_annotations(section)
    findings = picks_run.judge(section, annotations, classes=own.expected_classes, card=card)
    if any(finding.severity == "error" for finding in findings):
        return config, findings
    config = picks_run.configure(config, section, annotations, classes=own.expected_classes, card=card)
    if is_misnamed(config):  # by a file that leaves the name open
        config = replace(config, model=replace(config.model, name=picks_run.name_of(run)))
    return config, findings


def sized(config: "TrainingConfig", size: str | None) -> "TrainingConfig":
    """Return the configuration with the detector `point` in a size; None for the one it has.

    Raises:
        UsageError: E80 if there is no such size, or the configuration has another detector.
    """
    from picker_training.detectors.options import POINT_SIZES, with_size

    if size is None:
        return config
    if size not in POINT_SIZES:
        raise UsageError(80, f"--size {size}", "no such size", f"give one of {', '.join(POINT_SIZES)}")
    if config.model.detector != "point":
        raise UsageError(80, f"--size {size}", f"the detector is {config.model.detector}", "leave --size out")
    return replace(config, point=with_size(config.point, size))

"""The options of `picker-training fit`, and the configuration that follows from them."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from picker_training.evaluation.rules import Rule

if TYPE_CHECKING:
    from picker_training.config import TrainingConfig

Output = Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="The run's folder; goes on if begun.")]
Templates = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Density maps or atomic models of the classes, to simulate scenes.")
]
Shrec = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Train on tomograms in SHREC layout, DIR/model_0 ..., instead.")
]
Year = Annotated[int, typer.Option(help="--shrec: 2019, if its lists are `class z y x`.")]
ZOffset = Annotated[
    int | None, typer.Option(min=0, help="--shrec: slices of the reconstructions below the lists' z = 0; else judged.")
]
Validation = Annotated[
    str | None, typer.Option(metavar="NAME", help="--shrec: judges the run; default: the last that is not held out.")
]
HeldOut = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="--shrec: not trained on; picked and scored at the end; repeatable."),
]
RuleName = Annotated[Rule, typer.Option(help="--held-out: how its picks are scored.")]
Config = Annotated[Path | None, typer.Option(metavar="TOML", help="Configuration; default: the run's own.")]
From = Annotated[
    str | None, typer.Option("--from", metavar="MODEL", help="Begin with a model's weights: a name or a folder.")
]
Steps = Annotated[int | None, typer.Option(min=1, help="Steps in all, in place of the configuration's.")]
Minutes = Annotated[float, typer.Option(min=0, help="Stop after so long; the same call goes on.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or auto.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads of the network.")]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Print the configuration and stop.")]


def resolve(
    run: Path,
    file: Path | None,
    *,
    shrec: Path | None,
    year: int,
    z_offset: int | None,
    validation: str | None,
    held_out: list[str] | None,
    steps: int | None,
) -> "TrainingConfig":
    """Return the configuration of a run: a file, else what lies in its folder, else the defaults; options win.

    The classes of a data set are those of its particle lists, unless a file or the run itself names them.

    Raises:
        InputError: E46 if the data set is not readable.
        UsageError: E80 if a named tomogram is not in it; E83 if the configuration is not valid.
    """
    from picker_training.config import load_config

    stored = run / "config.toml"
    path = file or (stored if stored.exists() else None)
    config = load_config(path)
    if shrec is not None:
        from picker_training.datasets import shrec_tomograms

        section = shrec_tomograms.begin(shrec, year=year, validation=validation, held_out=tuple(held_out or ()))
        section = replace(
            section,
            z_offset=-1 if z_offset is None else z_offset,
            ignored=config.annotated.ignored,
            background=config.annotated.background,
        )
        model = config.model if path else replace(config.model, classes=shrec_tomograms.class_names(section))
        config = replace(config, annotated=section, model=model)
    if steps is not None:
        config = replace(config, optimiser=replace(config.optimiser, steps=steps))
    return config

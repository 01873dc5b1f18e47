"""The command `anchors`."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def anchors(
    templates: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Sizes of the templates of the classes.")
    ] = None,
    shrec: Annotated[Path | None, typer.Option(metavar="DIR", help="Sizes of the masks of a SHREC data set.")] = None,
    picks: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Diameters in picks files; repeatable.")
    ] = None,
    year: Annotated[int, typer.Option(help="--shrec: 2019, if its lists are `class z y x`.")] = 0,
    number: Annotated[int, typer.Option("-k", "--number", min=1, help="How many anchors.")] = 3,
    config: Annotated[Path | None, typer.Option(metavar="TOML", help="Whose classes and voxel size to use.")] = None,
) -> None:
    """Choose the anchors of the detector `paper`: k-means over the classes' sizes, by how far boxes overlap."""
    import numpy as np

    from picker_runtime.errors import UsageError
    from picker_training import anchors as sizes_of
    from picker_training.config import load_config

    if sum(1 for given in (templates, shrec, picks) if given) != 1:
        raise UsageError(80, "anchors", "sizes come from one place", "give --templates, --shrec or --picks")
    settings = load_config(config)
    if templates:
        sizes = sizes_of.sizes_of_templates(templates, settings)
    elif shrec:
        sizes = sizes_of.sizes_of_data_set(shrec, settings, year=year)
    else:
        sizes = sizes_of.sizes_of_picks(picks or [])
    voxel_size = settings.model.voxel_size_angstrom
    for name, (diameter, count) in sizes.items():
        print(f"{name}: {diameter / voxel_size:.2f} voxels, weight {count}", file=sys.stderr)
    diameters, counts = np.array(list(sizes.values()), np.float64).reshape(-1, 2).T
    try:
        chosen = sizes_of.choose_anchors(diameters / voxel_size, counts, number)
    except ValueError as error:
        raise UsageError(80, "--number", str(error), "ask for fewer anchors") from error
    print(f"[paper]\nanchors = [{', '.join(f'{anchor:.1f}' for anchor in chosen)}]")

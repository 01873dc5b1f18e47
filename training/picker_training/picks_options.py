"""The options that name one's own tomograms and picks files, shared by `lint` and `fit`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from picker_runtime.errors import UsageError
from picker_runtime.formats.relion5 import INDEX
from picker_runtime.outputs import CANDIDATES
from picker_runtime.settings import ByteSign
from picker_runtime.tomogram import MAX_VOXEL_SIZE, MIN_VOXEL_SIZE
from picker_training.picks_section import PicksSection


@dataclass(frozen=True, kw_only=True)
class PicksOptions:
    """What the command line says of one's own tomograms; each field is an option."""

    tomograms: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Your own tomograms (.mrc .rec .map), or one of them.")
    ] = None
    picks: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Their picks, in any format that is read; repeatable; 'DIR/*.coords' too."),
    ] = None
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class", metavar="OLD=NEW|NAME", help="Rename a class; or name every class there is; repeatable."
        ),
    ] = None
    background: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A class to be told from particles, not found; repeatable."),
    ] = None
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A class around which nothing is learnt; repeatable.")
    ] = None
    diameter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS=ANGSTROM", help="A class's diameter; default: the files', or --from's; repeatable."
        ),
    ] = None
    ignore_mask: Annotated[
        list[Path] | None,
        typer.Option(metavar="MRC", help="Not 0 where nothing is learnt; named TOMOGRAM.mrc, or a folder; repeatable."),
    ] = None
    border: Annotated[
        tuple[int, int, int], typer.Option(metavar="Z Y X", help="Voxels at each face without labels.")
    ] = (0, 0, 0)
    voxel_size: Annotated[
        float | None,
        typer.Option(min=MIN_VOXEL_SIZE, max=MAX_VOXEL_SIZE, help="In angstrom, in place of the headers'."),
    ] = None
    mode0: Annotated[
        ByteSign | None, typer.Option(help="How to read bytes (MRC mode 0), in place of the files' flags.")
    ] = None
    invert: Annotated[bool, typer.Option("--invert", help="Particles are bright in your tomograms.")] = False
    scale: Annotated[float, typer.Option(help="Multiply the coordinates of the picks files by this.")] = 1.0
    axes: Annotated[Literal["xyz", "zyx"], typer.Option(help="Order of the coordinates in the picks files.")] = "xyz"
    flip_z: Annotated[bool, typer.Option("--flip-z", help="z of the picks files counts from the last slice.")] = False
    relion_centre: Annotated[
        Literal["core", "python"], typer.Option(help="STAR files: whose centre, RELION's programs' or Python tools'.")
    ] = "core"

    @property
    def given(self) -> bool:
        """Whether tomograms or picks are named."""
        return self.tomograms is not None or bool(self.picks)

    @property
    def expected_classes(self) -> tuple[str, ...]:
        """The classes that were named without being renamed, in lower case."""
        return tuple(name.lower() for name in self.classes or () if "=" not in name)

    def section(self, *, validation: str = "") -> PicksSection:
        """Return the configuration's section that says the same, with absolute paths.

        Raises:
            UsageError: E80 if tomograms or picks are missing, or a value makes no sense.
        """
        if self.tomograms is None or not self.picks:
            missing = "--tomograms DIR" if self.tomograms is None else "--picks FILE"
            raise UsageError(80, missing, "missing", "give both --tomograms DIR and --picks FILE")
        try:
            return PicksSection(
                tomograms=str(self.tomograms.absolute()),
                files=tuple(map(str, _files(self.picks))),
                voxel_size_angstrom=self.voxel_size or 0.0,
                mode0=self.mode0 or "",
                invert=self.invert,
                scale=self.scale,
                axes=self.axes,
                flip_z=self.flip_z,
                relion_centre=self.relion_centre,
                renamed=tuple(name for name in self.classes or () if "=" in name),
                background=tuple(name.lower() for name in self.background or ()),
                ignored=tuple(name.lower() for name in self.ignore or ()),
                diameters=tuple(self.diameter or ()),
                ignore_masks=tuple(str(path.absolute()) for path in self.ignore_mask or ()),
                border=self.border,
                validation=validation,
            )
        except ValueError as error:
            raise UsageError(80, "options of the picks", str(error), "see --help") from error


def _files(names: Iterable[str]) -> list[Path]:
    """Return the files that names and patterns stand for; patterns pass over what `detect` writes besides picks.

    Raises:
        UsageError: E80 if one stands for none, is a folder, or holds candidates.
    """
    found: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            raise UsageError(80, f"--picks {name}", "a folder", f"name its files, such as '{path / '*.csv'}'")
        if path.name.endswith(CANDIDATES):
            fix = f"give {path.name.removesuffix(CANDIDATES)}.csv"
            raise UsageError(80, f"--picks {name}", "candidates, most of which are no picks", fix)
        files = [path] if path.is_file() else [p for p in sorted(path.parent.glob(path.name)) if _may_be_picks(p)]
        if not files:
            raise UsageError(80, f"--picks {name}", "no such file", "check the path")
        found += [file.absolute() for file in files]
    return list(dict.fromkeys(found))


def _may_be_picks(path: Path) -> bool:
    return path.is_file() and not path.name.endswith(CANDIDATES) and path.name != INDEX

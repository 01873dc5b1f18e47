"""Picks files and the tomograms they belong to: every listed particle with its file and line, in voxels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from picker_runtime.errors import InputError, PickerError, UsageError
from picker_runtime.formats import FORMATS, FormatContext, read_named_picks, relion5
from picker_runtime.formats.base import UNNAMED, read_lines
from picker_runtime.geometry import Triple
from picker_runtime.outputs import stem_of
from picker_runtime.settings import ByteSign
from picker_runtime.tomogram import Tomogram
from picker_training.picks_section import PicksSection

SUFFIXES = (".mrc", ".rec", ".map")
LIST_COLUMNS = (4, 7)
"""Columns of a text list: `class x y z`, with or without three angles."""

AFTER_STEM = ("_", "-", ".")
"""What follows a tomogram's stem in the name of a picks file or a mask of it, as in `<stem>_<class>.coords`."""


class TomogramFile(NamedTuple):
    """A tomogram that can be used: its stem, its file, its shape in voxels (zyx) and its voxel size in angstrom.

    mode0: how its bytes are read; None: as its flag says.
    """

    name: str
    path: Path
    shape: Triple
    voxel_size: float
    mode0: ByteSign | None = None

    def open(self) -> Tomogram:
        """Open it.

        Raises:
            InputError: E10 to E36 if it cannot be used any more.
        """
        return Tomogram.open(self.path, voxel_size=self.voxel_size, mode0=self.mode0)


class ListedPick(NamedTuple):
    """One line of a picks file.

    tomogram: stem of the tomogram it belongs to, or what the file says of it.
    name: its class, as renamed. position: zyx, voxels of the tomogram. diameter: angstrom, 0 where the file has none.
    """

    file: Path
    line: int
    tomogram: str
    name: str
    position: tuple[float, float, float]
    diameter: float


def lines_of(picks: Sequence[ListedPick]) -> str:
    """Say how many lines picks are."""
    return f"{len(picks)} lines" if len(picks) > 1 else "1 line"


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """What lies in a folder of tomograms and in picks files, right or wrong.

    tomograms: those that can be used, by stem. refused: why the others cannot be. unreadable: picks files that cannot
    be read, and why.
    """

    tomograms: dict[str, TomogramFile]
    refused: dict[str, PickerError]
    picks: tuple[ListedPick, ...]
    unreadable: dict[Path, PickerError]

    @property
    def named(self) -> set[str]:
        """Stems of the tomograms that picks belong to, whether they are there or not."""
        return {pick.tomogram for pick in self.picks}

    @property
    def annotated(self) -> list[str]:
        """Stems of the tomograms that can be used and have picks, in order."""
        named = self.named
        return [name for name in self.tomograms if name in named]


def read_annotations(section: PicksSection) -> Annotations:
    """Open the tomograms and read the picks files of a configuration; what cannot be used is kept beside.

    Raises:
        UsageError: E81 if two tomograms have the same stem; E84 if there are none.
    """
    tomograms: dict[str, TomogramFile] = {}
    refused: dict[str, PickerError] = {}
    for name, path in find_tomograms(Path(section.tomograms)).items():
        try:
            size, sign = section.voxel_size_angstrom or None, section.byte_sign
            with Tomogram.open(path, voxel_size=size, mode0=sign) as tomogram:
                tomograms[name] = TomogramFile(name, path, tomogram.shape, tomogram.voxel_size, sign)
        except InputError as error:
            refused[name] = error
    picks: list[ListedPick] = []
    unreadable: dict[Path, PickerError] = {}
    for file in map(Path, section.files):
        try:
            picks += read_file(file, section, tomograms, known=[*tomograms, *refused])
        except InputError as error:
            unreadable[file] = error
    return Annotations(tomograms=tomograms, refused=refused, picks=tuple(picks), unreadable=unreadable)


def find_tomograms(place: Path) -> dict[str, Path]:
    """Return the tomograms of a folder by stem, in order of their names; or the one that a file is.

    Raises:
        UsageError: E81 if two have the same stem; E84 if there are none.
    """
    files = sorted(place.iterdir()) if place.is_dir() else [place] if place.is_file() else []
    found: dict[str, Path] = {}
    for path in files:
        if _is_tomogram(path):
            if stem_of(path) in found:
                problem = f"and {found[stem_of(path)].name} have the same name before .mrc, .rec or .map"
                raise UsageError(81, path.name, problem, "rename or remove one")
            found[stem_of(path)] = path
    if not found:
        problem = f"no tomograms ({', '.join(SUFFIXES)}) there"
        raise UsageError(84, str(place), problem, "give the folder that holds them: --tomograms DIR")
    return found


def _is_tomogram(path: Path) -> bool:
    """Tell by its name whether a file is a tomogram, packed or not; `TS_01.mrc.mdoc` is none."""
    ending = path.name.removeprefix(stem_of(path)).lower()
    return any(suffix in ending for suffix in SUFFIXES)


def read_file(
    path: Path, section: PicksSection, tomograms: Mapping[str, TomogramFile], *, known: Iterable[str] = ()
) -> list[ListedPick]:
    """Read a picks file of any format, for all the tomograms that it names or the one it is named after.

    known: stems to tell a file's tomogram by, beside those of `tomograms`.

    Raises:
        InputError: E44 if it cannot be read, or a line of a text list has neither 4 nor 7 columns.
    """
    own = _tomogram_of(path, {*tomograms, *known})
    geometries = {(tomogram.shape, tomogram.voxel_size): None for tomogram in tomograms.values()}
    renamed = section.new_names()
    if FORMATS["shrec"].recognises(path):
        _check_columns(path)
    picks = []
    for number, (shape, voxel_size) in enumerate(geometries):
        context = _context(section, shape, voxel_size, tomogram=own)
        anchor = anchor_of(path, shape, section)
        for row in read_named_picks(path, context):
            named = row.tomogram or own
            tomogram = named if named in tomograms or not named else stem_of(Path(named))
            place = tomograms.get(tomogram)
            if (place is None and number == 0) or (place and (place.shape, place.voxel_size) == (shape, voxel_size)):
                name = (_class_in_name(path, own) or row.name).lower()
                position = _placed(row.position, anchor, shape, section)
                picks.append(ListedPick(path, row.line, tomogram, renamed.get(name, name), position, row.diameter))
    return sorted(picks, key=lambda pick: pick.line)


def _check_columns(path: Path) -> None:
    """Check that no line of a text list has columns that would be taken for others.

    Raises:
        InputError: E44, naming the line, if one has.
    """
    for line, text in enumerate(read_lines(path), start=1):
        count = len(text.split())
        if count and not text.lstrip().startswith("#") and count not in LIST_COLUMNS:
            fix = "write class x y z; IMOD's model2point without -object writes x y z, for TOMOGRAM_CLASS.coords"
            raise InputError(44, path.name, f"line {line}: {count} columns, expected class x y z", fix)


def owner_of(path: Path, stems: Iterable[str]) -> str:
    """Return the longest stem that a file is named after, as `<stem>.csv` or `<stem>_<class>.coords`; empty if none."""
    fitting = [s for s in stems if path.name.startswith(s) and path.name[len(s) :].startswith(AFTER_STEM)]
    return max(fitting, key=len, default="")


def _tomogram_of(path: Path, stems: Iterable[str]) -> str:
    """Return the stem of the tomogram whose picks a file holds by its name; empty if none.

    A text list states classes line by line, so only `<stem>.txt` and `<stem>_shrec.txt` are a tomogram's.
    """
    own = owner_of(path, stems)
    listed = FORMATS["shrec"].recognises(path)
    return "" if listed and stem_of(Path(path.stem)) not in (own, f"{own}_shrec") else own


def anchor_of(path: Path, shape: Triple, section: PicksSection) -> NDArray[np.float64]:
    """Return the point `(3,) zyx, voxels` that a file's coordinates count from."""
    if not FORMATS["relion5"].recognises(path):
        return np.zeros(3)
    return relion5.centre_of(path, _context(section, shape, 1.0))


def _context(section: PicksSection, shape: Triple, voxel_size: float, *, tomogram: str = "") -> FormatContext:
    return FormatContext(
        tomogram=tomogram, shape=shape, voxel_size=voxel_size, class_names=(),
        relion_centre=cast(Literal["core", "python"], section.relion_centre),
    )  # fmt: skip


def _placed(
    position: tuple[float, float, float], anchor: NDArray[np.float64], shape: Triple, section: PicksSection
) -> tuple[float, float, float]:
    """Return a position, zyx, as the section says that the file's coordinates are to be read."""
    offset = (np.array(position) - anchor) * section.scale
    z, y, x = (anchor + (offset[::-1] if section.axes == "zyx" else offset)).tolist()
    return (shape[0] - 1 - z if section.flip_z else z), y, x


def _class_in_name(path: Path, own: str) -> str:
    """Return the class that the name of a `.coords` file states after its tomogram's; empty for other files."""
    if not FORMATS["coords"].recognises(path):
        return ""
    return path.stem.removeprefix(own).lstrip("".join(AFTER_STEM)) or UNNAMED

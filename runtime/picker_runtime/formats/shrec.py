"""The text lists of the SHREC benchmarks: `class x y z` in voxels a line, further columns of no meaning here."""

from pathlib import Path
from typing import Literal

from picker_runtime.atomic import write_text
from picker_runtime.detections import Detections
from picker_runtime.formats.base import Format, FormatContext, NamedPick, bad_line, parse_numbers, read_lines

COLUMNS = {"xyz": (1, 2, 3), "zyx": (3, 2, 1)}
"""Where x, y and z stand in a line."""


def write(folder: Path, stem: str, detections: Detections, context: FormatContext) -> list[Path]:
    """Write `<stem>_shrec.txt`, best pick first if the detections are in that order.

    Raises:
        OutputError: E70 or E71.
    """
    rounded = detections.rounded()
    path = folder / f"{stem}_shrec.txt"
    rows = zip(rounded.class_ids.tolist(), rounded.positions.tolist(), strict=True)
    write_text(path, "".join(f"{context.class_names[number]} {x:.3f} {y:.3f} {z:.3f}\n" for number, (z, y, x) in rows))
    return [path]


def read(path: Path, context: FormatContext | None = None) -> list[NamedPick]:
    """Read a list of picks or a `particle_locations.txt` of 2020 or 2021.

    Raises:
        InputError: E44, naming the line, if a line is not `class x y z`.
    """
    return read_locations(path)


def read_locations(path: Path, *, order: Literal["xyz", "zyx"] = "xyz") -> list[NamedPick]:
    """Read a list in either column order (2019's lists are `class z y x`); classes are as written in the file.

    Blank lines, `#` comments and a first line that names the columns are passed over; so are columns after the fourth.

    Raises:
        InputError: E44, naming the line, if a line is not a class and three numbers.
    """
    picks: list[NamedPick] = []
    for line, text in enumerate(read_lines(path), start=1):
        fields = text.split()
        if not fields or fields[0].startswith("#") or [f.lower() for f in fields[1:4]] == list(order):
            continue
        if len(fields) < 4:
            raise bad_line(path, line, f"{len(fields)} columns, expected class {' '.join(order)}")
        x, y, z = parse_numbers(path, line, [fields[column] for column in COLUMNS[order]])
        picks.append(NamedPick(line, fields[0], (z, y, x)))
    return picks


FORMAT = Format(
    name="shrec",
    convention="v in voxels",
    write=write,
    read=read,
    recognises=lambda path: path.suffix.lower() == ".txt",
)

"""The CSV that every detection writes: voxels of the input and angstrom side by side, one particle a line."""

import csv
from pathlib import Path

import numpy as np

from picker_runtime.atomic import write_text
from picker_runtime.detections import Detections
from picker_runtime.errors import InputError
from picker_runtime.formats.base import Format, FormatContext, NamedPick, bad_line, parse_numbers, read_lines

HEADER = "tomogram,class,score,x,y,z,x_angstrom,y_angstrom,z_angstrom,diameter_angstrom"
COLUMNS = HEADER.split(",")


def write(folder: Path, stem: str, detections: Detections, context: FormatContext) -> list[Path]:
    """Write `<stem>.csv`.

    Raises:
        OutputError: E70 or E71.
    """
    path = folder / f"{stem}.csv"
    write_text(path, render(detections, context))
    return [path]


def render(detections: Detections, context: FormatContext) -> str:
    """Return the text of the file: rounded once, in the order given, LF line ends."""
    rounded = detections.rounded()
    angstrom = np.round(rounded.positions * context.voxel_size, 3) + 0.0
    tomogram = _quote(context.tomogram)
    rows = [
        f"{tomogram},{context.class_names[number]},{score:.6f},"
        f"{x:.3f},{y:.3f},{z:.3f},{xa:.3f},{ya:.3f},{za:.3f},{d:.2f}"
        for number, score, (z, y, x), (za, ya, xa), d in zip(
            rounded.class_ids.tolist(),
            rounded.scores.tolist(),
            rounded.positions.tolist(),
            angstrom.tolist(),
            rounded.diameters.tolist(),
            strict=True,
        )
    ]
    return "\n".join([HEADER, *rows, ""])


def read(path: Path, context: FormatContext | None = None) -> list[NamedPick]:
    """Read such a file; positions come from the voxel columns.

    Raises:
        InputError: E44, naming the line, if it is not exactly of this form.
    """
    reader = csv.reader((line + "\n" for line in read_lines(path)), strict=True)
    try:
        header = next(reader, [])
        if header != COLUMNS:
            problem = f"header is {','.join(header)[:80]!r}, expected {HEADER}"
            raise InputError(44, path.name, problem, "give a picks file written by this program")
        return [_pick(path, reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise bad_line(path, reader.line_num, str(error)) from error


def _pick(path: Path, line: int, row: list[str]) -> NamedPick:
    if len(row) != len(COLUMNS):
        raise bad_line(path, line, f"{len(row)} columns, expected {len(COLUMNS)}")
    score, x, y, z, _, _, _, diameter = parse_numbers(path, line, row[2:])
    if not 0 <= score <= 1 or diameter < 0:
        raise bad_line(path, line, f"score {score} or diameter {diameter} is out of range")
    return NamedPick(line, row[1], (z, y, x), score, diameter, tomogram=row[0])


def _quote(value: str) -> str:
    """Return a value as one CSV field (RFC 4180); the standard writer leaves a lone carriage return bare."""
    return '"' + value.replace('"', '""') + '"' if any(c in value for c in ',"\r\n') else value


FORMAT = Format(
    name="csv",
    convention="v in voxels, v * a in angstrom",
    write=write,
    read=read,
    recognises=lambda path: path.suffix.lower() == ".csv",
)

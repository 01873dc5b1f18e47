"""RELION 5: a STAR file of particles in angstrom from the tomogram's centre, and the index that its importer wants.

A tomogram's centre is size / 2 in RELION's programs, ArtiaX, cryoCAT and copick, and size / 2 - 1 in RELION's own
Python tools and in pytom-match-pick: one voxel apart. Which of them a file uses stands in its first line.
"""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picker_runtime.atomic import write_text
from picker_runtime.detections import Detections
from picker_runtime.errors import InputError
from picker_runtime.formats import star
from picker_runtime.formats.base import (
    UNNAMED,
    Centre,
    Format,
    FormatContext,
    NamedPick,
    bad_line,
    parse_numbers,
    read_lines,
)

TOMOGRAM, SCORE, CLASS = "rlnTomoName", "rlnAutopickFigureOfMerit", "rlnClassNumber"
POSITION = [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]
ORIGIN = [f"rlnOrigin{axis}Angst" for axis in "XYZ"]
TURN = [f"rlnTomoSubtomogram{angle}" for angle in ("Rot", "Tilt", "Psi")]
SUFFIX = "_particles.star"
INDEX = "particles_index.star"
HALVES: dict[Centre, str] = {"core": "size/2", "python": "size/2 - 1"}
"""The centre, as the first line of a file states it."""


def write(folder: Path, stem: str, detections: Detections, context: FormatContext) -> list[Path]:
    """Write `<stem>_particles.star` and `particles_index.star`; class numbers are the card order from 1.

    Raises:
        OutputError: E70 or E71.
        InputError: E47 if a STAR file cannot hold the tomogram's name.
    """
    rounded = detections.rounded()
    angstrom = np.round((rounded.positions - _centre(context)) * context.voxel_size, 3) + 0.0
    name = star.quote(context.tomogram)
    rows = [
        f"{name} {x:.3f} {y:.3f} {z:.3f} {score:.6f} {number + 1}"
        for (z, y, x), score, number in zip(
            angstrom.tolist(), rounded.scores.tolist(), rounded.class_ids.tolist(), strict=True
        )
    ]
    half = HALVES[context.relion_centre]
    comment = f"picker: angstrom from the centre, (voxel - ({half})) * {context.voxel_size:g}"
    path = folder / f"{stem}{SUFFIX}"
    write_text(path, star.render("particles", [TOMOGRAM, *POSITION, SCORE, CLASS], rows, comment=comment))
    return [path, write_index(folder)]


def write_index(folder: Path) -> Path:
    """Write the index of all files in the folder that hold a particle, again until none has come meanwhile.

    RELION's importer fails at a file without a particle, and imports nothing. The paths start as `folder` does, so they
    hold where the program was started, as RELION wants them.

    Raises:
        OutputError: E70 or E71.
    """
    index = folder / INDEX
    written: list[Path] | None = None
    while (files := sorted(folder.glob(f"*{SUFFIX}"))) != written:
        rows = []
        for file in filter(star.has_rows, files):
            with suppress(InputError):  # a stranger's, with a name that no STAR file can hold
                rows.append(_index_row(file))
        write_text(index, star.render("", [TOMOGRAM, "rlnTomoImportParticleFile"], rows))
        written = files
    return index


def _index_row(file: Path) -> str:
    return f"{star.quote(file.name.removesuffix(SUFFIX))} {star.quote(file.as_posix())}"


def check_name(folder: Path, stem: str) -> None:
    """Check that the file of a tomogram and the index can hold its name.

    Raises:
        InputError: E47 if not.
    """
    _index_row(folder / f"{stem}{SUFFIX}")


def read(path: Path, context: FormatContext | None = None) -> list[NamedPick]:
    """Read the particles of a RELION 5 STAR file, whatever the order of its labels.

    A centre stated in the first line goes before the context's. A particle lies at its coordinate less its origin, the
    shift that refinement found. Without scores they are 1; without class numbers the
    context must have one class only. Where the context has no classes, class numbers are names.

    Raises:
        InputError: E44, naming the line, for a broken table, a missing label, a class number out of range, or an origin
            in the frame of a turned subtomogram.
    """
    if context is None:
        raise InputError(
            44, path.name, "centred coordinates need the tomogram's shape and voxel size", "convert it to CSV first"
        )
    table = star.find_table(path, [TOMOGRAM, *POSITION])
    column = {label: number for number, label in enumerate(table.labels)}
    scale, (cz, cy, cx) = context.voxel_size, centre_of(path, context).tolist()
    picks = []
    for line, values in table.rows:
        place = parse_numbers(path, line, [values[column[label]] for label in POSITION])
        x, y, z = np.subtract(place, _origin(path, line, values, column)).tolist()
        position = (z / scale + cz, y / scale + cy, x / scale + cx)
        score = parse_numbers(path, line, [values[column[SCORE]]])[0] if SCORE in column else 1.0
        name = _class_name(path, line, values[column[CLASS]] if CLASS in column else None, context)
        picks.append(NamedPick(line, name, position, score, tomogram=values[column[TOMOGRAM]]))
    return picks


def centre_of(path: Path, context: FormatContext) -> NDArray[np.float64]:
    """Return the centre `(3,) float64, zyx, voxels` that a file counts from: as it states, else as the context says."""
    first = next(iter(read_lines(path)), "")
    stated = [centre for centre, half in HALVES.items() if first.startswith("#") and f"({half})" in first]
    return _centre(replace(context, relion_centre=stated[0]) if stated else context)


def _origin(path: Path, line: int, values: list[str], column: dict[str, int]) -> list[float]:
    """Return the shift that refinement found, x, y, z in angstrom; zeros where there is none."""
    shift, turn = (
        parse_numbers(path, line, [values[column[label]] if label in column else "0" for label in labels])
        for labels in (ORIGIN, TURN)
    )
    if any(shift) and any(turn):
        problem = f"an origin of {', '.join(map(str, shift))} A in a subtomogram that is turned ({TURN[0]} ...)"
        raise bad_line(path, line, problem + "; subtract origins from coordinates first")
    return shift


def _centre(context: FormatContext) -> NDArray[np.float64]:
    """Return the centre as `(3,) float64, zyx, voxels`."""
    return np.array(context.shape) / 2 - (0 if context.relion_centre == "core" else 1)


def _class_name(path: Path, line: int, text: str | None, context: FormatContext) -> str:
    if not context.class_names:
        return UNNAMED if text is None else text
    if text is None:
        if len(context.class_names) == 1:
            return context.class_names[0]
        raise InputError(44, path.name, f"{CLASS} is missing and the model has several classes", f"add {CLASS}")
    if not text.isdecimal() or not 1 <= int(text) <= len(context.class_names):
        raise bad_line(path, line, f"{CLASS} is {text[:40]!r}, expected 1 to {len(context.class_names)}")
    return context.class_names[int(text) - 1]


FORMAT = Format(
    name="relion5",
    convention="(v - N / 2) * a in angstrom, or with N / 2 - 1",
    write=write,
    read=read,
    recognises=lambda path: path.suffix.lower() == ".star",
)

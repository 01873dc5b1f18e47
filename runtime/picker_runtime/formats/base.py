"""What every picks format shares: the context it needs, the rows it reads, and strict parsing of their fields."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from picker_runtime.detections import Detections
from picker_runtime.errors import InputError
from picker_runtime.geometry import Triple

SHOWN_CHARACTERS = 40
UNNAMED = "particle"
"""The class of particles whose file names none, where no model says which classes there are."""

Centre = Literal["core", "python"]


@dataclass(frozen=True, kw_only=True)
class FormatContext:
    """What a file's coordinates and classes mean: the tomogram they belong to and the model that named the classes.

    tomogram: its name, the stem of every file written for it.
    shape: z, y, x in voxels.
    voxel_size: angstrom.
    class_names: in card order; index = class id; empty where no model says which classes there are.
    relion_centre: where RELION's coordinates start: at size / 2 (its programs) or at size / 2 - 1 (its Python tools).
    """

    tomogram: str
    shape: Triple
    voxel_size: float
    class_names: tuple[str, ...]
    relion_centre: Centre = "core"


class NamedPick(NamedTuple):
    """One row of a picks file, with its class as the file names it.

    line: 1-based, where the row stands in the file.
    position: z, y, x in voxels of the tomogram.
    score: 1 where the file has none. diameter: angstrom, 0 where the file has none.
    tomogram: the name in the row; empty where the file has none.
    """

    line: int
    name: str
    position: tuple[float, float, float]
    score: float = 1.0
    diameter: float = 0.0
    tomogram: str = ""


Writer = Callable[[Path, str, Detections, FormatContext], list[Path]]
"""Writes the detections of one tomogram into a folder under a stem; returns the paths it wrote, each atomically."""

Reader = Callable[[Path, FormatContext | None], list[NamedPick]]
"""Reads a file; raises InputError E44, naming the line, for anything that is not exactly of its format."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One picks format: its name on the command line, what its numbers mean, and how to write, tell and read it.

    recognises: whether a file looks like one of it.
    """

    name: str
    convention: str
    write: Writer
    read: Reader
    recognises: Callable[[Path], bool]


def number_classes(path: Path, picks: list[NamedPick], context: FormatContext) -> Detections:
    """Return the picks of the context's tomogram with their classes numbered as in the context.

    Rows without a tomogram's name belong to any.

    Raises:
        InputError: E44 if a class is unknown, or if there are rows but none is of this tomogram.
    """
    mine = [pick for pick in picks if pick.tomogram in ("", context.tomogram)]
    if picks and not mine:
        problem = f"holds picks of {picks[0].tomogram!r}, none of {context.tomogram!r}"
        raise InputError(44, path.name, problem, "give the file of this tomogram")
    numbers = {name: number for number, name in enumerate(context.class_names)}
    for pick in mine:
        if pick.name not in numbers:
            problem = f"line {pick.line}: unknown class {pick.name[:SHOWN_CHARACTERS]!r}"
            raise InputError(44, path.name, problem, f"use the model's classes: {', '.join(context.class_names)}")
    return Detections(
        positions=np.array([pick.position for pick in mine], dtype=np.float64).reshape(-1, 3),
        diameters=np.array([pick.diameter for pick in mine], dtype=np.float64),
        scores=np.array([pick.score for pick in mine], dtype=np.float64),
        class_ids=np.array([numbers[pick.name] for pick in mine], dtype=np.int32),
    )


def read_lines(path: Path) -> list[str]:
    """Return a text file's lines without their line feeds; bytes that are not UTF-8 pass through.

    Raises:
        InputError: E44 if it cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise InputError(44, path.name, f"cannot be read ({error.strerror})", "check its permissions") from error
    return text.split("\n") if text else []


def bad_line(path: Path, line: int, problem: str) -> InputError:
    """Return the error for one line of a file."""
    return InputError(44, path.name, f"line {line}: {problem}", "correct that line or write the file again")


def parse_numbers(path: Path, line: int, fields: list[str]) -> list[float]:
    """Return the fields as finite numbers.

    Raises:
        InputError: E44, naming the line and the first field that is not one.
    """
    values = []
    for text in fields:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or "_" in text:
            raise bad_line(path, line, f"{text[:SHOWN_CHARACTERS]!r} is not a number")
        values.append(value)
    return values

"""Detection records: the `<stem>.json` beside every picks file, from which the picks can be made again."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from picker_runtime import strict_json
from picker_runtime.atomic import write_text
from picker_runtime.errors import InputError
from picker_runtime.geometry import Triple

SCHEMA = 2
"""To be raised with every new key; older records are read, and become new ones as they are written again."""


@dataclass(frozen=True, kw_only=True)
class TomogramRecord:
    """What was picked in.

    path: relative to the record's folder; empty for an array in memory.
    shape: z, y, x in voxels.
    statistics: centre, scale and whatever else the intensity recipe measured; None where it found nothing.
    header: provenance that the runtime does not use (origin, mode, labels).
    """

    name: str
    path: str
    shape: Triple
    voxel_size_angstrom: float
    statistics: dict[str, float | None] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """Which model picked; `sha256` is the graph's, `classes` are in card order."""

    name: str
    version: str
    sha256: str
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DetectionRecord:
    """Everything about one detection but the picks themselves.

    thresholds: by class name, of every class of the model.
    counts: by class name, of the classes that were picked; of the picks after thresholds and NMS.
    floor: the lowest score among the candidates that were kept; no threshold can go below it.
    candidates: number of candidates in `<stem>.candidates.csv`.
    timings: seconds by stage.
    outputs: names of the files written beside the record.
    formats: those that were asked for besides csv, each with the centre that RELION's coordinates start at.
    software: versions by distribution: of picker, of numpy and of the engine's library.

    Raises:
        ValueError: for an unknown schema, an impossible size, or a class the model does not have.
    """

    tomogram: TomogramRecord
    model: ModelRecord
    engine: str
    thresholds: dict[str, float]
    nms_fraction: float
    floor: float
    counts: dict[str, int]
    candidates: int
    timings: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    formats: dict[str, Literal["core", "python"]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if not 1 <= self.schema <= SCHEMA:
            raise ValueError(f"schema is {self.schema}, expected 1 to {SCHEMA}")
        if min(self.tomogram.shape) < 1 or self.tomogram.voxel_size_angstrom <= 0:
            raise ValueError("the tomogram's shape and voxel size must be positive")
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor is {self.floor}, expected 0 to 1")
        strangers = (self.thresholds.keys() | self.counts.keys()) - set(self.model.classes)
        if strangers:
            raise ValueError(f"class {min(strangers)!r} is not one of {', '.join(self.model.classes)}")

    def to_json(self) -> str:
        """Return the text of the record's file."""
        return strict_json.dump(self)

    @classmethod
    def from_json(cls, text: str, *, subject: str) -> "DetectionRecord":
        """Return the record in the text.

        Raises:
            InputError: E44, naming `subject` and the key, if it is not exactly a record.
        """
        try:
            return replace(strict_json.parse(cls, text, schema=SCHEMA), schema=SCHEMA)
        except strict_json.NewerSchemaError as error:
            raise InputError(44, subject, str(error), "install that picker, or run `detect` again") from error
        except ValueError as error:
            raise InputError(44, subject, f"not a detection record: {error}", "run `detect` again") from error

    def write(self, path: Path) -> None:
        """Write the record atomically.

        Raises:
            OutputError: E70 or E71.
        """
        write_text(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> "DetectionRecord":
        """Read a record's file.

        Raises:
            InputError: E44 if it is absent or not exactly a record.
        """
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(44, path.name, f"cannot be read ({error})", "run `detect` again") from error
        return cls.from_json(text, subject=path.name)


def path_from(folder: Path, path: Path) -> str:
    """Return `path` as seen from the record's folder, so that both can move together; links to folders are followed."""
    return Path(os.path.relpath(path.parent.resolve() / path.name, folder.resolve())).as_posix()

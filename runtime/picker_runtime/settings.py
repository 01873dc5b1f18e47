"""What a command was asked to do: options and `PICKER_*` variables, checked once, before any work."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from picker_runtime.errors import UsageError

ByteSign = Literal["signed", "unsigned"]
RelionCentre = Literal["core", "python"]


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Score thresholds as asked for: one for every class, some by name, or neither (the model's own)."""

    everywhere: float | None = None
    by_class: dict[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Thresholds":
        """Read `0.4` and `CLASS=0.4`, in any number; a later value replaces an earlier one.

        Raises:
            UsageError: E80 if a value is no number from 0 to 1.
        """
        everywhere, by_class = None, {}
        for text in texts:
            name, equals, number = text.rpartition("=")
            value = _probability(number, text)
            if equals:
                by_class[name] = value
            else:
                everywhere = value
        return cls(everywhere=everywhere, by_class=by_class)

    def wanted(self, class_names: Iterable[str]) -> dict[str, float]:
        """Return the thresholds asked for, by class name."""
        everywhere = {} if self.everywhere is None else dict.fromkeys(class_names, self.everywhere)
        return everywhere | self.by_class


@dataclass(frozen=True, kw_only=True)
class DetectSettings:
    """One run of `detect`; every field is named after its option.

    batch: None for what suits the engine.
    tile: the largest cube, edges `(z, y, x)` in voxels, halo included; None for what suits each tomogram.
    voxel_size: angstrom, instead of the header's; None to trust the header.
    """

    inputs: tuple[Path, ...]
    output: Path
    model: str
    engine: str
    precision: str
    threads: int | None
    tile: tuple[int, int, int] | None
    batch: int | None
    voxel_size: float | None
    mode0: ByteSign | None
    invert: bool
    thresholds: Thresholds
    classes: tuple[str, ...] | None
    mask: Path | None
    formats: tuple[str, ...]
    relion_centre: RelionCentre

    def as_config(self) -> dict[str, Any]:
        """Return the settings as plain JSON values, for `--print-config`."""
        config = asdict(self)
        config["inputs"] = [str(path) for path in self.inputs]
        config["output"] = str(self.output)
        config["mask"] = None if self.mask is None else str(self.mask)
        return config


@dataclass(frozen=True, kw_only=True)
class PicksSettings:
    """One run of `picks`; every field is named after its option.

    output: None for the folder of each input.
    """

    inputs: tuple[Path, ...]
    output: Path | None
    thresholds: Thresholds
    classes: tuple[str, ...] | None
    formats: tuple[str, ...]
    relion_centre: RelionCentre


def parse_tile(text: str | None) -> tuple[int, int, int] | None:
    """Read the edges of the largest cube: `96`, or `64,160,160` for z, y, x; None for None.

    Raises:
        UsageError: E80 if it is neither.
    """
    if text is None:
        return None
    words = text.replace(",", " ").split()
    edges = [int(word) for word in words if word.isascii() and word.isdigit()]
    if len(edges) != len(words) or len(edges) not in (1, 3) or min(edges) < 1:
        raise UsageError(80, "--tile", f"{text!r} is not one edge or three", "give voxels, as 96 or 64,160,160 (z,y,x)")
    z, y, x = edges if len(edges) == 3 else edges * 3
    return z, y, x


def parse_classes(text: str | None) -> tuple[str, ...] | None:
    """Read class names separated by commas; None for None.

    Raises:
        UsageError: E80 if there is no name.
    """
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise UsageError(80, "--classes", f"{text!r} names no class", "give names separated by commas")
    return names


def _probability(number: str, text: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise UsageError(80, "--threshold", f"{text!r} holds no number from 0 to 1", "give T or CLASS=T, as 0.4")
    return value

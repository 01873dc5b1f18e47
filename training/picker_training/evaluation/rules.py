"""The rules by their names on the command line, and the options that each of them understands."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from picker_runtime.errors import UsageError
from picker_training.evaluation.hits import ZFrame

DEFAULT_MODEL = "shrec12"
DEFAULT_MASK = "occupancy_mask"


class Rule(StrEnum):
    """The rules that `evaluate` knows."""

    SHREC2019 = "shrec2019"
    SHREC2020 = "shrec2020"
    SHREC2020_COPY = "shrec2020-copy"
    SHREC2021 = "shrec2021"
    SHREC2021_CLEAN = "shrec2021-clean"
    PAPER = "paper"
    CZII = "czii"
    DISTANCE = "distance"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a rule may be told beside picks and truth.

    z_frame: where z of the picks counts from. z_offset: what to take off it, in rules without frames.
    padding: voxels to take off every coordinate.
    mask: name of the volume that says which voxels are a particle's.
    diameters, radii: angstrom by class. weights: by class. model: its card gives the diameters that are missing.
    voxel_size: of the truth, in angstrom; None: as its occupancy mask says.
    """

    z_frame: ZFrame = ZFrame.SLAB
    z_offset: int = 0
    padding: int = 0
    mask: str = DEFAULT_MASK
    diameters: dict[str, float] = field(default_factory=dict)
    model: str = DEFAULT_MODEL
    voxel_size: float | None = None
    radii: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)

    def check(self, rule: Rule) -> None:
        """Check that the rule understands what is not left at its default.

        Raises:
            UsageError: E80, if it does not.
        """
        for entry in fields(self):
            if getattr(self, entry.name) != _default(entry) and entry.name not in _UNDERSTOOD[rule]:
                option = _SPELLINGS.get(entry.name, f"--{entry.name.replace('_', '-')}")
                raise UsageError(80, option, f"the rule `{rule}` does not know it", "leave the option out")


_SPELLINGS = {"diameters": "--diameter", "radii": "--radius", "weights": "--weight"}
_UNDERSTOOD = {
    Rule.SHREC2019: {"z_frame", "padding", "mask"},
    Rule.SHREC2020: {"z_frame", "mask"},
    Rule.SHREC2020_COPY: {"z_offset", "mask"},
    Rule.SHREC2021: {"z_offset", "mask"},
    Rule.SHREC2021_CLEAN: {"z_offset", "mask"},
    Rule.PAPER: {"z_offset", "mask"},
    Rule.CZII: {"z_offset", "radii", "weights", "voxel_size"},
    Rule.DISTANCE: {"z_offset", "diameters", "model", "voxel_size"},
}


def parse_by_class(option: str, texts: Iterable[str] | None, *, zero: bool = False) -> dict[str, float]:
    """Return the numbers of a repeatable `CLASS=NUMBER` option by class; the last of a class counts.

    zero: whether 0 is a value.

    Raises:
        UsageError: E80, naming the option, if one is of another form, negative, not finite, or 0 where that is none.
    """
    values = {}
    for text in texts or ():
        name, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not name or not 0 <= value < math.inf or (value == 0 and not zero):
            raise UsageError(80, f"{option} {text}", "expected CLASS=NUMBER", f"write for example {option} 1bxn=130")
        values[name] = value
    return values


def _default(entry: Any) -> Any:
    return {} if entry.default_factory is dict else entry.default

"""The configuration's section `[picks]`: one's own tomograms, and how their picks files are to be read."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast, get_args

from picker_runtime.settings import ByteSign
from picker_runtime.strict_json import require

AXES = ("xyz", "zyx")
CENTRES = ("core", "python")


@dataclass(frozen=True, kw_only=True)
class PicksSection:
    """One's own tomograms with picks files, to train on in place of simulated scenes; `tomograms` empty for none.

    tomograms: a folder, or one file. files: the picks files. All paths are absolute.
    voxel_size_angstrom: claimed for every tomogram; 0 to trust the headers.
    mode0: whether bytes are "signed" or "unsigned"; empty to trust the files' flags. invert: particles are bright.
    scale, axes, flip_z, relion_centre: how the files' coordinates are to be read.
    renamed: `OLD=NEW` for classes. background: classes told from particles, not found. ignored: those around which
    nothing is learnt.
    diameters: `CLASS=ANGSTROM` of every class and every ignored one.
    ignore_masks: MRC files named after their tomograms, or folders of such; not zero where nothing is to be learnt.
    border: z, y, x voxels at each face in which particles are not listed.
    validation: the tomogram that judges the run and chooses thresholds; empty for a block of the only one.

    Raises:
        ValueError: if a value is out of range.
    """

    tomograms: str = ""
    files: tuple[str, ...] = ()
    voxel_size_angstrom: float = 0.0
    mode0: str = ""
    invert: bool = False
    scale: float = 1.0
    axes: str = "xyz"
    flip_z: bool = False
    relion_centre: str = "core"
    renamed: tuple[str, ...] = ()
    background: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    diameters: tuple[str, ...] = ()
    ignore_masks: tuple[str, ...] = ()
    border: tuple[int, ...] = (0, 0, 0)
    validation: str = ""

    def __post_init__(self) -> None:
        require(self.scale > 0, f"scale is {self.scale}, expected more than 0")
        signs = ("", *get_args(ByteSign))
        require(self.mode0 in signs, f"mode0 is {self.mode0!r}, expected one of {', '.join(map(repr, signs))}")
        require(self.axes in AXES, f"axes is {self.axes!r}, expected one of {', '.join(AXES)}")
        require(
            self.relion_centre in CENTRES,
            f"relion_centre is {self.relion_centre!r}, expected one of {', '.join(CENTRES)}",
        )
        good = len(self.border) == 3 and min(self.border) >= 0
        require(good, f"border is {list(self.border)}, expected three numbers from 0, z, y, x")
        parse_pairs(self.renamed, "renamed")
        self.diameters_angstrom()

    @property
    def byte_sign(self) -> ByteSign | None:
        """How bytes are read; None to trust the files' flags."""
        return cast(ByteSign, self.mode0) if self.mode0 else None

    def diameters_angstrom(self) -> dict[str, float]:
        """Return the stated diameter of each class, by its name in lower case."""
        return {name.lower(): _diameter(value) for name, value in parse_pairs(self.diameters, "diameters").items()}

    def new_names(self) -> dict[str, str]:
        """Return the new name of each renamed class; both in lower case, as all names are."""
        return {old.lower(): new.lower() for old, new in parse_pairs(self.renamed, "renamed").items()}


def parse_pairs(texts: Iterable[str], key: str) -> dict[str, str]:
    """Read `NAME=VALUE` texts.

    Raises:
        ValueError: if one is not of this form.
    """
    pairs = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.rpartition("="))
        require(name and equals and value, f"{key} holds {text!r}, expected NAME=VALUE")
        pairs[name] = value
    return pairs


def _diameter(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    require(0 < value < float("inf"), f"diameters holds {text!r}, expected angstrom, more than 0")
    return value

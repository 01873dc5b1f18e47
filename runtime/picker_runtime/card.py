"""The model card: every fact about a model that its user needs, as strict JSON beside the weights."""

import math
import re
from dataclasses import dataclass, field
from typing import Any

from picker_runtime import strict_json
from picker_runtime.errors import ModelError
from picker_runtime.strict_json import require

SCHEMA = 1
"""To be raised with every new key: what an older picker does not know it must not use. Older cards are read."""
STATISTICS = ("median-mad-v1",)
"""Names of the intensity recipes that this version can measure."""
MAX_CANDIDATES = 3840
"""The largest top-K that every engine can build (TensorRT's limit)."""
VOXEL_SIZES_ANGSTROM = (0.5, 100.0)
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
COLOUR = re.compile(r"#[0-9a-f]{6}")
SHA256 = re.compile(r"[0-9a-f]{64}")
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class ParticleClass:
    """One class a model knows: its name (lower-case PDB id), diameter, score threshold and display colour (#rrggbb).

    Raises:
        ValueError: if one of them is malformed or out of range.
    """

    name: str
    diameter_angstrom: float
    threshold: float
    colour: str

    def __post_init__(self) -> None:
        require(NAME.fullmatch(self.name), f"class name is {self.name!r}, expected lower-case letters, digits, _ . -")
        require(
            self.diameter_angstrom > 0,
            f"diameter_angstrom of {self.name} is {self.diameter_angstrom}, expected more than 0",
        )
        require(0 < self.threshold <= 1, f"threshold of {self.name} is {self.threshold}, expected more than 0 to 1")
        require(COLOUR.fullmatch(self.colour), f"colour of {self.name} is {self.colour!r}, expected #rrggbb")


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """All facts of a model bundle.

    halo: voxels around a core that a cube reads, with `halo_curve` {halo: agreement with whole-volume inference}.
    margin: voxels along a cube's faces in which the model has not learnt to find particles: cubes reach so far beyond
    the tomogram's faces, where it is reflected.
    tile: default cube edges `(z, y, x)` in voxels, halo included; upper bounds, multiples of `alignment`.
    files: {file name: sha256 hex}; the hash detects damage, not malice.

    Raises:
        ValueError: if a value is out of range or two of them contradict each other.
    """

    name: str
    version: str
    licence: str
    classes: tuple[ParticleClass, ...]
    voxel_size_angstrom: float
    polarity: str  # "dark" or "bright": how particles look in the tomograms the model was trained on
    output_stride: int
    alignment: int
    halo: int
    halo_curve: dict[str, float]
    tile: tuple[int, int, int]
    max_candidates: int
    candidate_floor: float
    nms_fraction: float
    statistics: str  # name of the intensity recipe: "median-mad-v1"
    files: dict[str, str]
    margin: int = 8
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        require(1 <= self.schema <= SCHEMA, f"schema is {self.schema}, expected 1 to {SCHEMA}")
        require(NAME.fullmatch(self.name), f"name is {self.name!r}, expected lower-case letters, digits, _ . -")
        low, high = VOXEL_SIZES_ANGSTROM
        require(
            low <= self.voxel_size_angstrom <= high,
            f"voxel_size_angstrom is {self.voxel_size_angstrom}, expected {low} to {high}",
        )
        require(self.polarity in ("dark", "bright"), f"polarity is {self.polarity!r}, expected dark or bright")
        require(
            self.statistics in STATISTICS, f"statistics is {self.statistics!r}, expected one of {', '.join(STATISTICS)}"
        )
        require(0 < self.nms_fraction <= 2, f"nms_fraction is {self.nms_fraction}, expected more than 0 to 2")
        for file, digest in self.files.items():
            require(FILE_NAME.fullmatch(file), f"files names {file!r}, expected a plain file name")
            require(SHA256.fullmatch(digest), f"files[{file!r}] is {digest[:70]!r}, expected 64 hexadecimal digits")
        self._check_classes()
        self._check_tiling()

    def _check_classes(self) -> None:
        names = self.class_names
        require(
            names and len(set(names)) == len(names), f"classes are {list(names)}, expected at least one, no doubles"
        )
        require(0 < self.candidate_floor < 1, f"candidate_floor is {self.candidate_floor}, expected between 0 and 1")
        for particle in self.classes:
            require(
                particle.threshold >= self.candidate_floor,
                f"threshold of {particle.name} is {particle.threshold}, below candidate_floor {self.candidate_floor}",
            )

    def _check_tiling(self) -> None:
        stride, alignment = self.output_stride, self.alignment
        require(stride >= 1, f"output_stride is {stride}, expected 1 or more")
        require(
            alignment >= 1 and alignment % stride == 0, f"alignment is {alignment}, expected a multiple of {stride}"
        )
        require(self.halo >= 0, f"halo is {self.halo}, expected 0 or more")
        require(self.margin >= 0, f"margin is {self.margin}, expected 0 or more")
        require(
            all(edge % alignment == 0 and edge > 2 * self.halo for edge in self.tile),
            f"tile is {list(self.tile)}, expected multiples of {alignment} larger than two halos of {self.halo}",
        )
        require(
            1 <= self.max_candidates <= min(MAX_CANDIDATES, math.prod(edge // stride for edge in self.tile)),
            f"max_candidates is {self.max_candidates}, expected 1 to {MAX_CANDIDATES} and no more than a tile's cells",
        )
        for halo, agreement in self.halo_curve.items():
            require(
                halo.isdecimal() and 0 <= agreement <= 1,
                f"halo_curve[{halo!r}] is {agreement}, expected a halo and its agreement, 0 to 1",
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in card order."""
        return tuple(particle.name for particle in self.classes)

    def to_json(self) -> str:
        """Return the text of `card.json`."""
        return strict_json.dump(self)

    @classmethod
    def from_json(cls, text: str, *, subject: str) -> "ModelCard":
        """Return the card in the text.

        Raises:
            ModelError: E51, naming `subject` and the key, if a key is unknown, missing, mistyped or out of range.
        """
        try:
            return strict_json.parse(cls, text, schema=SCHEMA)
        except strict_json.NewerSchemaError as error:
            raise ModelError(
                51, subject, str(error), "install that picker, or export the model with this one"
            ) from error
        except ValueError as error:
            raise ModelError(51, subject, str(error), "correct the card, or export the model again") from error

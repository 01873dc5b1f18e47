"""Configuration of a training run: one TOML file, strict both ways."""

import dataclasses
import difflib
import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from picker_runtime.card import NAME
from picker_runtime.errors import UsageError
from picker_runtime.strict_json import require
from picker_training.augmentation import Augmentation
from picker_training.detectors.options import PaperOptions, PointOptions, UNetOptions
from picker_training.picks_section import PicksSection
from picker_training.simulator.presets import SHREC2020_CLASSES

CROP_STEPS = {"point": 8, "unet": 8, "paper": 16}
"""Crops are cubes that a detector's network takes: their edges are multiples of its deepest stride."""

DETECTORS = tuple(CROP_STEPS)
"""Each has a section of its own with what can be chosen of its network."""

CROP_STEP = min(CROP_STEPS.values())

OPTIMISERS = ("muon", "adamw", "adam")

MOST_WARPED = {"spin_degree": 180.0, "tilt_degree": 15.0, "scale": 0.2}
"""A crop tilted or scaled further would show particles, or a missing wedge, that no tomogram has."""


@dataclass(frozen=True, kw_only=True)
class ModelSection:
    """What the model finds, on which grid, and with which detector."""

    name: str = "shrec12"
    classes: tuple[str, ...] = SHREC2020_CLASSES
    voxel_size_angstrom: float = 10.0
    detector: str = "point"

    def __post_init__(self) -> None:
        for name in (self.name, *self.classes):
            require(NAME.fullmatch(name), f"name {name!r}, expected lower-case letters, digits, _ . -")
        distinct = len(set(self.classes)) == len(self.classes) > 0
        require(distinct, f"classes are {list(self.classes)}, expected at least one, no doubles")
        require(
            self.voxel_size_angstrom > 0, f"voxel_size_angstrom is {self.voxel_size_angstrom}, expected more than 0"
        )
        require(self.detector in DETECTORS, f"detector is {self.detector!r}, expected one of {', '.join(DETECTORS)}")


@dataclass(frozen=True, kw_only=True)
class DataSection(Augmentation):
    """Simulated scenes: how many, the unlabelled maps mixed in, and how samples are cut from them."""

    scenes: int = 320
    strangers: tuple[str, ...] = ("2uv8", "4v4r", "7n4y", "8tux")

    def __post_init__(self) -> None:
        require(self.scenes >= 1, f"scenes is {self.scenes}, expected 1 or more")
        fits = 0 <= 2 * self.halo < self.crop and self.crop % CROP_STEP == 0
        require(fits, f"crop is {self.crop}, expected a multiple of {CROP_STEP} larger than two halos of {self.halo}")
        rising = len(self.snr) == 2 and 0 < self.snr[0] <= self.snr[1]
        require(rising, f"snr is {list(self.snr)}, expected its lowest and highest value, above 0")
        most = {key: 1.0 for key in vars(self) if key.endswith("_probability")} | MOST_WARPED
        for key, bound in most.items():
            require(0 <= getattr(self, key) <= bound, f"{key} is {getattr(self, key)}, expected 0 to {bound:g}")
        warped = any(getattr(self, key) > 0 for key in MOST_WARPED)
        if self.warp_probability > 0:
            require(warped, f"warp_probability is {self.warp_probability}, expected spin_degree, tilt_degree or scale")


@dataclass(frozen=True, kw_only=True)
class AnnotatedSection:
    """Annotated tomograms to train on in place of simulated scenes: a data set in SHREC layout; `shrec` empty for none.

    year: 2019, if the particle lists are `class z y x`; else 0. z_offset: slices of the reconstructions below the
    lists' z = 0; -1 to tell it from the masks. validation: the tomogram that judges the run and chooses thresholds.
    held_out: tomograms left for a final test. ignored: names around which nothing is learnt. background: names that are
    to be told from particles, not found.
    """

    shrec: str = ""
    year: int = 0
    z_offset: int = -1
    validation: str = ""
    held_out: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ("4v94",)
    background: tuple[str, ...] = ("vesicle",)


@dataclass(frozen=True, kw_only=True)
class OptimiserSection:
    """How a network learns in `steps`; the exported weights are a moving average, with `average` 0 the last ones.

    kind: `muon` or `adamw`, whose rate falls by half a cosine, or `adam`, whose rate falls once, to a tenth after two
    thirds.
    """

    kind: str = "muon"
    steps: int = 10_000
    batch: int = 2
    learning_rate: float = 2e-3
    warmup: int = 200
    weight_decay: float = 0.02
    clip_norm: float = 5.0
    average: float = 0.998
    checkpoint_every: int = 200
    validate_every: int = 1000

    def __post_init__(self) -> None:
        require(self.kind in OPTIMISERS, f"kind is {self.kind!r}, expected one of {', '.join(OPTIMISERS)}")
        for key in ("steps", "batch", "checkpoint_every", "validate_every"):
            require(getattr(self, key) >= 1, f"{key} is {getattr(self, key)}, expected 1 or more")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything a run depends on besides templates and annotated tomograms; `seed` fixes scenes and samples."""

    seed: int = 1
    workers: int = 1
    model: ModelSection = field(default_factory=ModelSection)
    point: PointOptions = field(default_factory=PointOptions)
    unet: UNetOptions = field(default_factory=UNetOptions)
    paper: PaperOptions = field(default_factory=PaperOptions)
    data: DataSection = field(default_factory=DataSection)
    annotated: AnnotatedSection = field(default_factory=AnnotatedSection)
    picks: PicksSection = field(default_factory=PicksSection)
    optimiser: OptimiserSection = field(default_factory=OptimiserSection)

    def __post_init__(self) -> None:
        step = CROP_STEPS[self.model.detector]
        name, crop = self.model.detector, self.data.crop
        require(crop % step == 0, f"data.crop is {crop}, expected a multiple of {step} for the detector {name}")


def load_config(path: Path | None) -> TrainingConfig:
    """Read a configuration file (None: the defaults); keys left out keep their defaults.

    Raises:
        UsageError: E83 if the file is unreadable, a key is unknown, a value has the wrong type or is out of range, or a
            model of other classes is called as the default is.
    """
    if path is None:
        return TrainingConfig()
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(83, str(path), f"not a readable TOML file ({error})", "correct the file") from error
    config: TrainingConfig = _build(TrainingConfig, table, str(path), "")
    if is_misnamed(config):
        problem = f"model.name is {config.model.name!r}, whose classes are others"
        raise UsageError(83, str(path), problem, "give the model a name of its own")
    return config


def is_misnamed(config: TrainingConfig) -> bool:
    """Tell whether a model of other classes is called as the default one."""
    return config.model.name == ModelSection.name and config.model.classes != ModelSection.classes


def dump_config(config: TrainingConfig) -> str:
    """Return the configuration as TOML that `load_config` reads back to an equal value."""
    lines, sections = [], []
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if dataclasses.is_dataclass(value):
            body = [f"{f.name} = {_toml(getattr(value, f.name))}" for f in dataclasses.fields(value)]
            sections.append("\n".join([f"\n[{entry.name}]", *body]))
        else:
            lines.append(f"{entry.name} = {_toml(value)}")
    return "\n".join([*lines, *sections]) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else repr(value)


def _build(kind: Any, table: dict[str, Any], subject: str, where: str) -> Any:
    hints = get_type_hints(kind)
    for key in table:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            fix = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(hints)}"
            raise UsageError(83, subject, f"unknown key {where}{key}", fix.rstrip("?"))
    values = {key: _value(hints[key], value, subject, where + key) for key, value in table.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise UsageError(83, subject, f"{where}{error}", "correct the value") from error


def _value(hint: Any, value: Any, subject: str, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise UsageError(83, subject, f"{where} is no table", f"write [{where}]")
        return _build(hint, value, subject, where + ".")
    if getattr(hint, "__origin__", None) is tuple:
        if not isinstance(value, list):
            raise UsageError(83, subject, f"{where} is {value!r}, expected a list", "write it in brackets")
        return tuple(_value(hint.__args__[0], item, subject, where) for item in value)
    wanted = (int, float) if hint is float else hint
    if not isinstance(value, wanted) or isinstance(value, bool) != (hint is bool):
        raise UsageError(83, subject, f"{where} is {value!r}, expected {hint.__name__}", "correct the value")
    return hint(value)

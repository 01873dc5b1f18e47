"""What a benchmark asks of every detector and baseline."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from picker_runtime.detections import Detections
from picker_runtime.errors import UsageError
from picker_training.benchmarking.protocol import Difficulty
from picker_training.benchmarking.scenes import BenchmarkScenes
from picker_training.datasets.annotated import AnnotatedVolume
from picker_training.detectors.cost import Cost

Settings = dict[str, Any]
"""What was chosen on the calibration tomogram, plain values."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Where and with what a method works.

    folder: of its own. minutes: it trains so long. report: told what is going on, a line at a time.
    """

    scenes: BenchmarkScenes
    folder: Path
    device: torch.device
    seed: int
    minutes: float
    report: Callable[[str], None]

    @property
    def diameters_angstrom(self) -> NDArray[np.float64]:
        """Diameter of every class."""
        return np.array([self.scenes.diameters_angstrom[name] for name in self.scenes.protocol.classes])

    def check_minutes(self, begun: float) -> None:
        """Check that what lies in the folder was begun with as many minutes.

        Raises:
            UsageError: E80 if not.
        """
        if begun != self.minutes:
            problem = f"{self.folder} was run with {begun:g} minutes"
            raise UsageError(80, f"--minutes {self.minutes:g}", problem, f"give {begun:g}, or another folder with -o")


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a method was trained: seconds, optimiser steps, crops seen."""

    seconds: float
    steps: int
    samples: int


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds from a tomogram's file to its picks, and how many voxels that tomogram has."""

    seconds: float
    voxels: int


class Method(ABC):
    """One way from the scenes of a protocol to picks."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def train(self) -> Training | None:
        """Train for the work's minutes, going on where an earlier call stopped; None if nothing is learnt."""
        return None

    def cost(self) -> Cost | None:
        """Return the network's cost; None without one."""
        return None

    @abstractmethod
    def search(self, folder: Path, difficulty: Difficulty) -> Any:
        """Return whatever picks of a tomogram, a folder in SHREC layout, follow from, before anything is chosen."""

    @abstractmethod
    def tune(self, found: Any, truth: AnnotatedVolume) -> Settings:
        """Choose thresholds and whatever else there is, on the calibration tomogram."""

    @abstractmethod
    def picks(self, found: Any, settings: Settings, voxel_size: float) -> Detections:
        """Return the picks."""

    @abstractmethod
    def time(self, tomogram: Path, settings: Settings) -> Timing:
        """Measure how long it takes from a file to picks; where that takes hours, on other voxels than the file's."""

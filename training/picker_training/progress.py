"""Progress of a run: what is reported after a step, and how fast it goes."""

import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

WINDOW = 50


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What the trainer reports after a step: the loss and its parts by name, seconds since the run was (re)started.

    steps_per_second: of the last steps; NaN after the first. seconds_left: until the last step or the run's time limit.
    f1, class_f1: localisation and mean class F1 of the last validation; NaN before the first.
    """

    step: int
    steps: int
    total: float
    parts: Mapping[str, float]
    seconds: float
    steps_per_second: float = math.nan
    seconds_left: float = math.nan
    f1: float = math.nan
    class_f1: float = math.nan


class Pace:
    """How fast steps follow each other."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self._ends: deque[float] = deque(maxlen=WINDOW)

    def step(self) -> float:
        """Note that a step has ended; return the seconds since the start."""
        self._ends.append(time.monotonic())
        return self._ends[-1] - self.started

    @property
    def steps_per_second(self) -> float:
        """Mean over the last steps; NaN before the second."""
        if len(self._ends) < 2:
            return math.nan
        return (len(self._ends) - 1) / max(self._ends[-1] - self._ends[0], 1e-9)

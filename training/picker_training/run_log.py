"""The log of a run: its losses and scores as CSV, as TensorBoard events and as curves."""

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from picker_runtime.atomic import output_error, write_text
from picker_runtime.errors import UsageError
from picker_runtime.extras import require
from picker_training.curves import Curve, Panel, draw
from picker_training.progress import Progress

LOG, VALIDATION, TENSORBOARD, CURVES = "log.csv", "validation.csv", "tensorboard", "curves.png"
REPORT_EVERY = 10
SCORES = {"f1": "localisation F1", "class_f1": "mean class F1"}

Note = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Score:
    """Localisation F1, mean class F1 and centre error (voxels) of the moving average on the validation volume."""

    step: int
    f1: float
    class_f1: float
    centre_error: float

    @property
    def objective(self) -> float:
        """What the best checkpoint is best at: the mean of both F1s."""
        return (self.f1 + self.class_f1) / 2.0


class RunLog:
    """Writes RUN/log.csv, RUN/validation.csv, RUN/tensorboard and RUN/curves.png, going on after a step.

    What a killed process wrote of later steps is dropped: they are taken again.
    note: is told once what cannot be written because a package is not installed.
    """

    def __init__(self, folder: Path, step: int, note: Note) -> None:
        self._folder = folder
        self._note = note
        self._lacking: set[str] = set()
        for name in (LOG, VALIDATION):
            _keep_until(folder / name, step)
        self._events = self._open_events(step)

    def add_progress(self, progress: Progress) -> None:
        """Write a row of losses."""
        row = {"step": progress.step, "total": progress.total, **progress.parts, "seconds": progress.seconds}
        _append(self._folder / LOG, row)
        self._add_events("loss", {"total": progress.total, **progress.parts}, progress.step)

    def add_score(self, score: Score) -> None:
        """Write a row of scores and draw the curves anew."""
        _append(self._folder / VALIDATION, asdict(score))
        values = {name: value for name, value in asdict(score).items() if name != "step" and math.isfinite(value)}
        self._add_events("validation", values, score.step)
        self._unless_lacking(self._draw)

    def last_score(self) -> Score | None:
        """Return the last score of the run, also of earlier processes."""
        rows = _rows(self._folder / VALIDATION)
        if not rows:
            return None
        step = int(rows[-1].pop("step"))
        return Score(step=step, **{name: float(value) for name, value in rows[-1].items()})

    def close(self) -> None:
        """Complete the events."""
        if self._events is not None:
            with _ours(self._folder / TENSORBOARD):
                self._events.close()

    def _open_events(self, step: int) -> Any:
        def opened() -> Any:
            require("tensorboard", extra="training")
            module = require("torch.utils.tensorboard", extra="training")
            with _ours(self._folder / TENSORBOARD):
                return module.SummaryWriter(self._folder / TENSORBOARD, purge_step=step + 1, flush_secs=30)

        return self._unless_lacking(opened)

    def _add_events(self, group: str, values: Mapping[str, float], step: int) -> None:
        if self._events is not None:
            with _ours(self._folder / TENSORBOARD):
                for name, value in values.items():
                    self._events.add_scalar(f"{group}/{name}", value, step)

    def _draw(self) -> None:
        losses, scores = _rows(self._folder / LOG), _rows(self._folder / VALIDATION)
        parts = [name for name in (losses[0] if losses else {}) if name not in ("step", "seconds")]
        panels = [
            Panel(curves={name: _curve(losses, name) for name in parts}, x_label="step", y_label="loss"),
            Panel(
                curves={title: _curve(scores, name) for name, title in SCORES.items()},
                x_label="step", y_label="F1 at validation", y_range=(0.0, 1.02),
            ),
        ]  # fmt: skip
        draw(panels, self._folder / CURVES)

    def _unless_lacking(self, make: Callable[[], Any]) -> Any:
        """Return what `make` returns; None, noted once, if it needs a package that is not installed."""
        try:
            return make()
        except UsageError as error:
            if error.subject not in self._lacking:
                self._lacking.add(error.subject)
                self._note(f"{error.subject} is {error.problem}: the run goes without. To have it: {error.fix}")
            return None


def _curve(rows: list[dict[str, str]], name: str) -> Curve:
    return [(float(row["step"]), float(row[name])) for row in rows]


def _rows(path: Path) -> list[dict[str, str]]:
    """Return the complete rows of a file; one that a full disk cut short is none."""
    if not path.exists():
        return []
    with _ours(path), path.open(newline="") as file:
        rows = [dict(row) for row in csv.DictReader(file)]
    return [row for row in rows if None not in row and None not in row.values() and "" not in row.values()]


def _keep_until(path: Path, step: int) -> None:
    rows = [row for row in _rows(path) if row["step"].isdecimal() and int(row["step"]) <= step]
    if path.exists():
        write_text(path, _text(rows, header=True) if rows else "")


def _append(path: Path, row: Mapping[str, float]) -> None:
    new = not path.exists() or path.stat().st_size == 0
    written = {name: f"{value:.5g}" if isinstance(value, float) else str(value) for name, value in row.items()}
    with _ours(path), path.open("a", newline="") as file:
        file.write(_text([written], header=new))


def _text(rows: list[dict[str, str]], *, header: bool) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@contextmanager
def _ours(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise output_error(path, error) from error

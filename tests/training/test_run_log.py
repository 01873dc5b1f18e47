import csv
import math
import sys
from pathlib import Path

import pytest
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from picker_runtime.errors import OutputError
from picker_training.progress import Pace, Progress
from picker_training.run_log import RunLog, Score


def progress(step: int) -> Progress:
    return Progress(step=step, steps=100, total=3.0 / step, parts={"near": 1.0 / step, "far": 2.0 / step}, seconds=0.5)


def score(step: int, f1: float = 0.8) -> Score:
    return Score(step=step, f1=f1, class_f1=0.5, centre_error=math.nan)


def log(folder: Path, step: int = 0) -> tuple[RunLog, list[str]]:
    notes: list[str] = []
    return RunLog(folder, step, notes.append), notes


def steps(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return [row["step"] for row in csv.DictReader(file)]


def events(folder: Path) -> EventAccumulator:
    read = EventAccumulator(str(folder / "tensorboard"))
    read.Reload()
    return read


def test_losses_and_scores_are_written_as_rows_events_and_curves(tmp_path: Path) -> None:
    one, notes = log(tmp_path)
    for step in (10, 20):
        one.add_progress(progress(step))
    one.add_score(score(20))
    one.close()
    assert (
        tmp_path / "log.csv"
    ).read_text() == "step,total,near,far,seconds\n10,0.3,0.1,0.2,0.5\n20,0.15,0.05,0.1,0.5\n"
    assert (tmp_path / "validation.csv").read_text() == "step,f1,class_f1,centre_error\n20,0.8,0.5,nan\n"
    assert one.last_score() is not None
    assert (one.last_score().step, one.last_score().objective) == (20, pytest.approx(0.65))  # type: ignore[union-attr]
    read = events(tmp_path)
    assert set(read.Tags()["scalars"]) == {
        "loss/total",
        "loss/near",
        "loss/far",
        "validation/f1",
        "validation/class_f1",
    }
    assert [(event.step, round(event.value, 4)) for event in read.Scalars("loss/far")] == [(10, 0.2), (20, 0.1)]
    assert imread(tmp_path / "curves.png").ndim == 3
    assert notes == []


def test_what_a_killed_process_wrote_of_later_steps_is_dropped(tmp_path: Path) -> None:
    killed, _ = log(tmp_path)
    for step in (10, 20, 30):
        killed.add_progress(progress(step))
        killed.add_score(score(step))
    killed.close()
    with (tmp_path / "log.csv").open("a") as file:
        file.write("40,0.1")  # cut short
    resumed, _ = log(tmp_path, 20)
    assert steps(tmp_path / "log.csv") == steps(tmp_path / "validation.csv") == ["10", "20"]
    resumed.add_progress(progress(30))
    resumed.add_score(score(30, f1=0.9))
    resumed.close()
    assert steps(tmp_path / "log.csv") == steps(tmp_path / "validation.csv") == ["10", "20", "30"]
    assert [event.step for event in events(tmp_path).Scalars("loss/total")] == [10, 20, 30]
    assert round(events(tmp_path).Scalars("validation/f1")[-1].value, 4) == 0.9


def test_a_run_that_begins_anew_has_no_rows_yet(tmp_path: Path) -> None:
    killed, _ = log(tmp_path)
    killed.add_progress(progress(10))
    killed.close()
    anew, _ = log(tmp_path, 0)
    assert steps(tmp_path / "log.csv") == []
    anew.add_progress(progress(10))
    assert steps(tmp_path / "log.csv") == ["10"]
    anew.close()


def test_without_the_packages_a_run_goes_on_and_notes_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tensorboard", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    one, notes = log(tmp_path)
    for step in (10, 20):
        one.add_progress(progress(step))
        one.add_score(score(step))
    one.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "validation.csv"]
    assert [note.split()[0] for note in notes] == ["tensorboard", "matplotlib.figure"]
    assert all(note.endswith("pip install 'picker-cryoet[training]'") for note in notes)


def test_a_log_that_cannot_be_written_is_ours_to_tell(tmp_path: Path) -> None:
    one, _ = log(tmp_path)
    (tmp_path / "log.csv").mkdir()
    with pytest.raises(OutputError, match="E70"):
        one.add_progress(progress(10))
    one.close()


def test_pace_is_that_of_the_last_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 110.0, 110.5, 111.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    pace = Pace()
    assert pace.step() == 10.0
    assert math.isnan(pace.steps_per_second)
    assert (pace.step(), pace.step()) == (10.5, 11.0)
    assert pace.steps_per_second == 2.0

"""Running one entry of a benchmark: training, thresholds, picks, scores and times, kept in one file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from picker_runtime.atomic import atomic_writer, check_writable_folder, write_text
from picker_runtime.formats import find_writer
from picker_runtime.formats.base import FormatContext
from picker_runtime.geometry import Box, Triple
from picker_runtime.mrc import write_mrc
from picker_runtime.tomogram import Tomogram
from picker_training.benchmarking.method import Method, Settings, Timing
from picker_training.benchmarking.protocol import Difficulty, Protocol
from picker_training.benchmarking.scenes import BenchmarkScenes
from picker_training.datasets.shrec import TOMOGRAM
from picker_training.evaluation.rules import Options, Rule
from picker_training.evaluation.scoring import score_files

RESULT, SCORES = "result.json", "scores.json"
RULES = (Rule.SHREC2020, Rule.DISTANCE)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one entry reached, plain values.

    minutes: of training, of the protocol or as asked. timing: as `Timing`. training: as `Training`.
    scores: by difficulty, then rule; its SNR and what was chosen for it stand beside the rules, `snr` and `settings`.
    """

    protocol: str
    entry: str
    seed: int
    minutes: float
    threads: int
    device: str
    training: dict[str, Any] | None
    parameters: int | None
    mac_per_voxel: float | None
    timing: dict[str, Any]
    scores: dict[str, dict[str, Any]]


def read_result(folder: Path, protocol: Protocol) -> Result | None:
    """Return what lies in an entry's folder; None if it is not finished, or was tested at other difficulties."""
    path = folder / RESULT
    if not path.exists():
        return None
    result = Result(**json.loads(path.read_text()))
    tested = {name: scores["snr"] for name, scores in result.scores.items()}
    return result if tested == {one.name: one.snr for one in protocol.difficulties} else None


def run_entry(name: str, method: Method) -> Result:
    """Train, tune and test one entry, going on where an earlier call stopped; a finished one is only read.

    Raises:
        UsageError: E80 if it was begun with other minutes.
    """
    work = method.work
    done = read_result(work.folder, work.scenes.protocol)
    if done is not None:
        work.check_minutes(done.minutes)
        return done
    check_writable_folder(work.folder)
    training = method.train()
    scores = _all_scores(name, method, asdict(training) if training else None)
    work.report(f"{name}: seconds")
    first = work.scenes.protocol.difficulties[0]
    timing = method.time(timing_tomogram(work.scenes), scores[first.name]["settings"])
    cost = method.cost()
    result = Result(
        protocol=work.scenes.protocol.name,
        entry=name,
        seed=work.seed,
        minutes=work.minutes,
        threads=torch.get_num_threads(),
        device=str(work.device),
        training=asdict(training) if training else None,
        parameters=cost.parameters if cost else None,
        mac_per_voxel=cost.mac_per_voxel if cost else None,
        timing=asdict(timing),
        scores=scores,
    )
    write_text(work.folder / RESULT, json.dumps(asdict(result), indent=1) + "\n")
    return result


def _all_scores(name: str, method: Method, training: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return the scores at every difficulty; those are kept one by one, for the same training."""
    work = method.work
    path = work.folder / SCORES
    kept = json.loads(path.read_text()) if path.exists() else {}
    scores: dict[str, dict[str, Any]] = kept.get("scores", {}) if kept.get("training") == training else {}
    for difficulty in work.scenes.protocol.difficulties:
        if scores.get(difficulty.name, {}).get("snr") == difficulty.snr:
            continue
        work.report(f"{name}: {difficulty.name}")
        settings = _tuned(method, difficulty)
        told = {"snr": difficulty.snr, "settings": settings}
        scores[difficulty.name] = told | _scored(method, difficulty, settings)
        write_text(path, json.dumps({"training": training, "scores": scores}))
    return {difficulty.name: scores[difficulty.name] for difficulty in work.scenes.protocol.difficulties}


def timing_tomogram(scenes: BenchmarkScenes) -> Path:
    """Return a file of the protocol's timing shape: the first test tomogram, reflected where it is smaller."""
    protocol = scenes.protocol
    source = scenes.test_folder(protocol.difficulties[0]) / TOMOGRAM
    if protocol.spec.shape == protocol.timing_shape:
        return source
    made = scenes.folder / "timing.mrc"
    if not made.exists():
        with Tomogram.open(source) as tomogram:
            values, voxel_size = tomogram.read(Box.whole(tomogram.shape)), tomogram.voxel_size
        stream: Any
        with atomic_writer(made, "wb") as stream:
            write_mrc(stream, _enlarged(values, protocol.timing_shape), voxel_size)
    return made


def _enlarged(values: np.ndarray[Any, Any], shape: Triple) -> np.ndarray[Any, Any]:
    grown = [(0, max(wanted - has, 0)) for wanted, has in zip(shape, values.shape, strict=True)]
    padded = np.pad(values, grown, mode="symmetric")
    return np.ascontiguousarray(padded[tuple(slice(0, n) for n in shape)])


def _tuned(method: Method, difficulty: Difficulty) -> Settings:
    scenes = method.work.scenes
    folder = scenes.calibration_folder(difficulty)
    return method.tune(method.search(folder, difficulty), scenes.read(folder))


def _scored(method: Method, difficulty: Difficulty, settings: Settings) -> dict[str, Any]:
    """Pick the test tomogram, keep the picks, and score their file as `picker-training evaluate` does."""
    work = method.work
    folder = work.scenes.test_folder(difficulty)
    with Tomogram.open(folder / TOMOGRAM) as tomogram:
        shape, voxel_size = tomogram.shape, tomogram.voxel_size
    picks = method.picks(method.search(folder, difficulty), settings, voxel_size)
    context = FormatContext(
        tomogram=folder.name, shape=shape, voxel_size=voxel_size, class_names=work.scenes.protocol.classes
    )
    kept = work.folder / "picks"
    kept.mkdir(exist_ok=True)
    (path,) = find_writer("csv")(kept, folder.name, picks, context)
    diameters = Options(diameters=work.scenes.diameters_angstrom)
    return {
        rule.value: score_files(rule, [folder], [path], diameters if rule is Rule.DISTANCE else None).to_json()
        for rule in RULES
    }


def seconds_per(timing: dict[str, Any], voxels: int) -> float:
    """Return the measured seconds for so many voxels."""
    measured = Timing(**timing)
    return measured.seconds * voxels / measured.voxels


def entry_folder(output: Path, name: str, seed: int | None) -> Path:
    """Return an entry's folder; without a seed, of an entry that does not train."""
    return output / (name if seed is None else f"{name}-seed{seed}")

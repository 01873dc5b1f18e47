"""Trained detectors in a benchmark: the trainer's own loop for so many minutes, the runtime's own detection."""

import json
import math
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from picker_runtime.atomic import write_text
from picker_runtime.detections import Detections
from picker_runtime.scanning import Scanner
from picker_runtime.tomogram import Tomogram
from picker_training.baselines.selection import Known, pick_at, tune_thresholds
from picker_training.baselines.unet_picking import ComponentLimits, choose_settings, components, label_file
from picker_training.benchmarking.method import Method, Settings, Timing, Training, Work
from picker_training.benchmarking.protocol import Difficulty
from picker_training.config import TrainingConfig, dump_config, load_config
from picker_training.datasets.annotated import AnnotatedVolume
from picker_training.datasets.shrec import TOMOGRAM
from picker_training.detectors.base import Detector
from picker_training.detectors.cost import Cost, cost_of
from picker_training.detectors.unet import UNetDetector
from picker_training.model_card import decoded, diameters_voxels, draft_card
from picker_training.networks import build_network
from picker_training.run import fed, load_average
from picker_training.torch_engine import TorchEngine
from picker_training.trainer import Progress, Trainer

CONFIG, SPENT = "config.toml", "spent.json"
TRIAL_STEPS = 5
FIRST_TRUE_STEP = 2
"""Steps that are timed before a run to tell how many the minutes allow; the first ones start workers."""

MARGIN = 0.95
"""Share of the minutes for which steps are planned: the rate should have come down before they are over."""

TRIED = 0.1
"""Share of the minutes after which steps are planned for the last time, by the speed until then: speed varies."""

AVERAGED_STEPS = 20
"""The moving average forgets in a twentieth of the steps, or as slowly as the configuration has it."""

SCORES = np.round(np.arange(0.06, 0.99, 0.02), 2)
"""Among which thresholds are chosen."""


@dataclass(frozen=True, kw_only=True)
class Spent:
    """How far a run is: seconds and steps of training, and whether that was all.

    minutes: of the whole run; None in a file that does not say.
    """

    seconds: float
    step: int
    done: bool
    minutes: float | None = None


class LearnedMethod(Method):
    """A detector with a graph of its own: `point` in its sizes, `paper`."""

    def __init__(self, work: Work, config: TrainingConfig) -> None:
        super().__init__(work)
        self._config = config
        self._network: Detector | None = None

    @property
    def config(self) -> TrainingConfig:
        """The configuration of the run: once it has begun, as it lies in the folder."""
        path = self.work.folder / CONFIG
        return load_config(path) if path.exists() else self._config

    def train(self) -> Training:
        """Train for the minutes that are left; steps are planned on the first call, and again by the speed since then.

        Raises:
            UsageError: E80 if it was begun with other minutes.
        """
        folder, budget = self.work.folder, 60.0 * self.work.minutes
        spent = read_spent(folder)
        if spent.minutes is not None:
            self.work.check_minutes(spent.minutes)
        if not (folder / CONFIG).exists():
            self._plan(math.floor(MARGIN * budget / self._seconds_of_a_step()))
        while not spent.done and spent.seconds < TRIED * budget:
            spent = self._go_on(spent.seconds, TRIED * budget)
            seconds_of_a_step = spent.seconds / spent.step
            self._plan(spent.step + math.floor(MARGIN * (budget - spent.seconds) / seconds_of_a_step))
        if not spent.done:
            spent = self._go_on(spent.seconds, budget, last=True)
        return Training(seconds=spent.seconds, steps=spent.step, samples=spent.step * self.config.optimiser.batch)

    def _plan(self, steps: int) -> None:
        """Write the configuration for so many steps, at least one."""
        steps = max(1, steps)
        self.work.report(f"{steps} steps in {self.work.minutes:g} minutes")
        self.work.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.work.folder / CONFIG, dump_config(with_steps(self._config, steps)))

    def _go_on(self, before: float, until: float, *, last: bool = False) -> Spent:
        """Train until so many seconds in all, `before` of them spent; they are noted whenever a checkpoint is written.

        last: there is no more time after these, and the run is done.
        """
        folder, config, minutes = self.work.folder, self.config, self.work.minutes

        def note(progress: Progress) -> None:
            passed = before + progress.seconds
            if progress.step % config.optimiser.checkpoint_every == 0:
                _write_spent(folder, Spent(seconds=passed, step=progress.step, done=False, minutes=minutes))
            if progress.step % 10 == 0 or progress.step == progress.steps:
                self.work.report(f"step {progress.step}/{progress.steps}  loss {progress.total:.3f}  {passed:.0f} s")

        trainer = self._trainer(config, folder)
        started, done = time.monotonic(), False
        try:
            trainer.run(note, lambda network, step: None, seconds=max(until - before, 0.0))
            done = last
        finally:  # a signal leaves a checkpoint, and then ends the command
            seconds = before + time.monotonic() - started
            spent = Spent(seconds=seconds, step=trainer.step, done=done, minutes=minutes)
            _write_spent(folder, spent)
        return spent

    def _seconds_of_a_step(self) -> float:
        """Return the median duration of a few steps of a run that is thrown away, without checkpoints between them."""
        times: list[float] = []
        config = with_steps(self._config, TRIAL_STEPS)
        config = replace(config, optimiser=replace(config.optimiser, checkpoint_every=TRIAL_STEPS))
        with tempfile.TemporaryDirectory() as scratch:
            trainer = self._trainer(config, Path(scratch))
            trainer.run(lambda progress: times.append(progress.seconds), lambda network, step: None)
        return max(float(np.median(np.diff(times[FIRST_TRUE_STEP - 1 :]))), 1e-3)

    def _trainer(self, config: TrainingConfig, folder: Path) -> Trainer:
        scenes = self.work.scenes
        trainer = Trainer(fed(config, self.work.device), scenes.pool(self.work.seed), folder, self.work.device)
        trainer.network.prepare(diameters_voxels(draft_card(config, scenes.diameters_angstrom)))
        return trainer

    @property
    def network(self) -> Detector:
        """The moving average of the trained weights."""
        if self._network is None:
            network, _ = load_average(self.work.folder, self.config, self.work.device)
            self._network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        return self._network

    def cost(self) -> Cost:
        """Return the network's cost."""
        return cost_of(build_network(self.config))

    def search(self, folder: Path, difficulty: Difficulty) -> Any:
        """Return what picks of a tomogram follow from."""
        return self.look(folder / TOMOGRAM)

    def look(self, path: Path) -> Any:
        """Return the candidates in a file, as the runtime finds them."""
        card = draft_card(self.config, self.work.scenes.diameters_angstrom)
        with TorchEngine(decoded(self.network, card)) as engine, Tomogram.open(path) as tomogram:
            scanner = Scanner(engine=engine, card=card, tile=None, halo=card.halo)
            found = scanner.scan(tomogram).candidates
        return found

    def tune(self, found: Any, truth: AnnotatedVolume) -> Settings:
        """Choose the threshold of each class."""
        known = Known(candidates=found, positions=truth.positions, class_ids=truth.class_ids.astype(np.intp))
        thresholds = tune_thresholds([known], self.work.diameters_angstrom, truth.voxel_size, grid=SCORES)
        return {"thresholds": thresholds.tolist()}

    def picks(self, found: Any, settings: Settings, voxel_size: float) -> Detections:
        """Return the candidates at or above their class's threshold that no better one overlaps."""
        return pick_at(found, np.array(settings["thresholds"]), voxel_size)

    def time(self, tomogram: Path, settings: Settings) -> Timing:
        """Measure detection in a file; before the clock starts the network is loaded, and on a GPU has run once."""
        with Tomogram.open(tomogram) as opened:
            shape, voxel_size = opened.shape, opened.voxel_size
        self.network.eval()
        if self.work.device.type == "cuda":
            self.look(tomogram)
        started = time.perf_counter()
        self.picks(self.look(tomogram), settings, voxel_size)
        return Timing(seconds=time.perf_counter() - started, voxels=math.prod(shape))


class UNetMethod(LearnedMethod):
    """The segmentation rival: its picks are connected components of the labels."""

    @property
    def _unet(self) -> UNetDetector:
        network = self.network
        if not isinstance(network, UNetDetector):
            raise TypeError(f"{network.name} is no U-Net")
        return network

    def look(self, path: Path) -> Any:
        """Return what the network says of every voxel of a file."""
        return label_file(self._unet, path, margin=self.config.data.halo)

    def tune(self, found: Any, truth: AnnotatedVolume) -> Settings:
        """Choose the limits of components and the threshold of each class."""
        chosen = choose_settings(
            found, truth.positions, truth.class_ids.astype(np.intp), self._radii, self.work.diameters_angstrom,
            truth.voxel_size,
        )  # fmt: skip
        return chosen.to_json()

    def picks(self, found: Any, settings: Settings, voxel_size: float) -> Detections:
        """Return the components within the limits."""
        limits = ComponentLimits(**settings["limits"])
        candidates = components(found, limits, self._radii, self.work.diameters_angstrom.tolist())
        return pick_at(candidates, np.array(settings["thresholds"]), voxel_size)

    @property
    def _radii(self) -> tuple[float, ...]:
        return self.config.unet.radii_voxels


def with_steps(config: TrainingConfig, steps: int) -> TrainingConfig:
    """Return the configuration for so many steps: warm-up and moving average shorter where they are few."""
    optimiser = config.optimiser
    settings = replace(
        optimiser,
        steps=steps,
        warmup=max(1, min(optimiser.warmup, steps // 10)),
        average=max(0.0, min(optimiser.average, 1.0 - AVERAGED_STEPS / steps)),
        checkpoint_every=max(1, min(optimiser.checkpoint_every, steps // 20)),
        validate_every=steps,
    )
    return replace(config, optimiser=settings)


def read_spent(folder: Path) -> Spent:
    """Return how far a run is, as of its last checkpoint."""
    path = folder / SPENT
    return Spent(**json.loads(path.read_text())) if path.exists() else Spent(seconds=0.0, step=0, done=False)


def _write_spent(folder: Path, spent: Spent) -> None:
    write_text(folder / SPENT, json.dumps(asdict(spent)) + "\n")

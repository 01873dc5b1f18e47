"""The trainer: one readable loop from batches to a checkpoint, resumable at any step."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from picker_runtime.errors import UsageError
from picker_training.augmentation import Augmentation
from picker_training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from picker_training.config import TrainingConfig
from picker_training.detectors.assignment import assign
from picker_training.detectors.loss import Loss, point_loss
from picker_training.detectors.point import PointConfig, PointDetector
from picker_training.loading import Batch, Pool, batches


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What the trainer reports after a step: losses as plain numbers, seconds since the run was (re)started."""

    step: int
    steps: int
    total: float
    objectness: float
    classes: float
    offset: float
    seconds: float


Report = Callable[[Progress], None]
Validate = Callable[[PointDetector, int], None]


def build_network(config: TrainingConfig) -> PointDetector:
    """Return an untrained network of the configuration's size, its weights fixed by the seed."""
    torch.manual_seed(config.seed)
    widths, blocks = config.model.widths, config.model.blocks
    return PointDetector(
        PointConfig(
            classes=len(config.model.classes),
            widths=(widths[0], widths[1], widths[2]),
            blocks=(blocks[0], blocks[1], blocks[2]),
        )
    )


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Return the rate of a step: linear warm-up, then half a cosine down to 1 % of the peak."""
    optimiser = config.optimiser
    if step < optimiser.warmup:
        return optimiser.learning_rate * (step + 1) / optimiser.warmup
    done = (step - optimiser.warmup) / max(optimiser.steps - optimiser.warmup, 1)
    return optimiser.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0))))


class Trainer:
    """Trains one network in a run folder; `run` goes on from the folder's checkpoint if there is one."""

    def __init__(self, config: TrainingConfig, pool: Pool, folder: Path, device: torch.device) -> None:
        self.config = config
        self.pool = pool
        self.folder = folder
        self.device = device
        self.network = build_network(config).to(device=device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.average = build_network(config).to(device).eval()
        self.average.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=config.optimiser.learning_rate, weight_decay=config.optimiser.weight_decay
        )
        self.step = 0

    def begin_with(self, network: PointDetector) -> None:
        """Begin with the weights of another network of the same size and classes.

        Raises:
            UsageError: E83 if it has another size or number of classes.
        """
        if network.config != self.network.config:
            problem = f"the model to start from is {network.config}, the run's is {self.network.config}"
            raise UsageError(83, str(self.folder), problem, "give the run the widths, blocks and classes of that model")
        self.network.load_state_dict(network.state_dict())
        self.average.load_state_dict(network.state_dict())

    def run(self, report: Report, validate: Validate, *, seconds: float = math.inf) -> bool:
        """Train until the last step or, at a checkpoint's pace, until the seconds are over; tell whether it is done."""
        self._resume()
        started = time.monotonic()
        settings = self.config.optimiser
        stream = batches(
            self.pool, self._augmentation(), batch=settings.batch, first_step=self.step, steps=settings.steps,
            workers=self.config.workers,
        )  # fmt: skip
        for batch in stream:
            loss = self._train_step(batch)
            self.step += 1
            elapsed = time.monotonic() - started
            report(self._progress(loss, elapsed))
            over = elapsed > seconds
            if over or self.step % settings.checkpoint_every == 0 or self.step == settings.steps:
                self._save()
            if self.step % settings.validate_every == 0 or self.step == settings.steps:
                validate(self.average, self.step)
            if over:
                break
        return self.step >= settings.steps

    def _train_step(self, batch: Batch) -> Loss:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        cubes = batch.cubes.to(self.device).to(memory_format=torch.channels_last_3d)
        _, _, depth, height, width = cubes.shape
        targets = assign(
            batch.positions, batch.class_ids, (depth, height, width),
            halo=self.config.data.halo, ignored=batch.ignored, device=self.device,
        )  # fmt: skip
        self.network.train()
        with self._half_precision():
            prediction = self.network(cubes)
        loss = point_loss(prediction, targets)
        if not torch.isfinite(loss.total):
            raise UsageError(
                84, str(self.folder), f"the loss is not finite at step {self.step}",
                "resume from the last checkpoint with a lower learning_rate",
            )  # fmt: skip
        self.optimiser.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimiser.clip_norm)
        self.optimiser.step()
        self._update_average()
        return loss

    def _update_average(self) -> None:
        decay = min(self.config.optimiser.average, (1.0 + self.step) / (10.0 + self.step))
        with torch.no_grad():
            for mean, value in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
                if mean.dtype.is_floating_point:
                    mean.lerp_(value.to(mean.dtype), 1.0 - decay)
                else:
                    mean.copy_(value)

    def _half_precision(self) -> AbstractContextManager[object]:
        """Use bfloat16 where the device computes in it (GPUs; CPUs with AMX or AVX-512 BF16), else float32."""
        if self.device.type == "cuda" or torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported():
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def _augmentation(self) -> Augmentation:
        data = self.config.data
        return Augmentation(
            crop=data.crop, halo=data.halo, snr=(data.snr[0], data.snr[1]),
            turn_probability=data.turn_probability, int8_probability=data.int8_probability,
        )  # fmt: skip

    def _progress(self, loss: Loss, seconds: float) -> Progress:
        def number(value: Tensor) -> float:
            return float(value.detach())

        return Progress(
            step=self.step, steps=self.config.optimiser.steps, total=number(loss.total),
            objectness=number(loss.objectness), classes=number(loss.classes), offset=number(loss.offset),
            seconds=seconds,
        )  # fmt: skip

    def _save(self) -> None:
        checkpoint = Checkpoint(
            step=self.step, weights=self.network.state_dict(), average=self.average.state_dict(),
            optimiser=self.optimiser.state_dict(),
        )  # fmt: skip
        save_checkpoint(self.folder, checkpoint)

    def _resume(self) -> None:
        checkpoint = load_checkpoint(self.folder, self.device)
        if checkpoint is not None:
            self.step = checkpoint.step
            self.network.load_state_dict(checkpoint.weights)
            self.average.load_state_dict(checkpoint.average)
            self.optimiser.load_state_dict(checkpoint.optimiser)

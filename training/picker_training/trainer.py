"""The trainer: one readable loop from batches to a checkpoint, resumable at any step."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from picker_runtime.errors import EngineError, UsageError
from picker_training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from picker_training.config import TrainingConfig
from picker_training.detectors.base import Detector, Loss
from picker_training.detectors.transfer import take_over
from picker_training.device import half_precision
from picker_training.loading import Batch, Pool, batches
from picker_training.networks import build_network
from picker_training.optimisation import build_optimiser, learning_rate
from picker_training.parallel import Ranks, check_batch
from picker_training.progress import Pace
from picker_training.progress import Progress as Progress
from picker_training.stopping import HeldSignals, held_signals

Report = Callable[[Progress], None]
Validate = Callable[[Detector, int], None]


class Trainer:
    """Trains one network in a run folder, going on from the folder's checkpoint if there is one.

    With several ranks each has a trainer; the first saves and validates.
    """

    def __init__(
        self, config: TrainingConfig, pool: Pool, folder: Path, device: torch.device, ranks: Ranks | None = None
    ) -> None:
        self.config = config
        self.pool = pool
        self.folder = folder
        self.device = device
        self.ranks = ranks or Ranks()
        check_batch(config.optimiser.batch, self.ranks)
        self.network: Detector = build_network(config).to(device=device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.average = build_network(config).to(device).eval()
        self.average.load_state_dict(self.network.state_dict())
        self.parallel = self.ranks.parallel(self.network)
        self.optimiser = build_optimiser(config, self.network)
        self.step = 0
        self._resume()

    def begin_with(self, network: Detector, classes: Sequence[str]) -> None:
        """Begin with the weights of another network of the same shape, which knows these classes, unless already begun.

        Rows of the classes that both know are taken over by name; a class that is new begins untrained.

        Raises:
            UsageError: E83 if it has another shape.
        """
        if not self.network.takes_weights_of(network):
            problem = f"the model to start from is {network.facts()}, the run's is {self.network.facts()}"
            raise UsageError(83, str(self.folder), problem, "give the run the detector and options of that model")
        if self.step > 0:
            return
        weights = take_over(network, classes, self.network, self.config.model.classes)
        self.network.load_state_dict(weights)
        self.average.load_state_dict(weights)

    def run(self, report: Report, validate: Validate, *, seconds: float = math.inf) -> bool:
        """Train until the last step, or until the seconds are over; tell whether it is done.

        A signal ends it after the step under way, with a checkpoint. A step at which validation was due and missed,
        because the run was stopped there, is validated first.

        Raises:
            UsageError: E84 if the loss or its gradient is not finite; the checkpoint stays that of before.
            EngineError: E61 if the GPU's memory is too small.
            OutputError: E70 or E71 if the checkpoint cannot be written.
        """
        with held_signals(patient=self.ranks.count > 1) as signals:  # `torchrun` repeats them, and kills in the end
            try:
                if self.step == 0:
                    self._save()  # from here on the folder holds all that the run takes
                else:
                    self._validate(validate, signals)
                self._train(report, validate, signals, seconds)
            except torch.OutOfMemoryError as error:
                raise self._out_of_memory() from error
        return self.step >= self.config.optimiser.steps

    def _train(self, report: Report, validate: Validate, signals: HeldSignals, seconds: float) -> None:
        settings = self.config.optimiser
        pace = Pace()
        for batch in self._batches(signals):
            losses = self._train_step(batch)
            self.step += 1
            elapsed = pace.step()
            report(self._progress(losses, pace, elapsed, seconds))
            stop = self.ranks.any(signals.asked or elapsed > seconds)
            if stop or self._due(settings.checkpoint_every) or self._due(settings.validate_every):
                self._save()
            if not stop or self.step == settings.steps:
                self._validate(validate, signals)
            if stop:
                break

    def _batches(self, signals: HeldSignals) -> Iterator[Batch]:
        settings = self.config.optimiser
        stream = batches(
            self.pool, self.config.data, batch=settings.batch, first_step=self.step,
            steps=settings.steps, workers=self.config.workers, rank=self.ranks.rank, ranks=self.ranks.count,
        )  # fmt: skip
        try:
            yield from stream
        except RuntimeError:
            if not signals.asked:  # a signal to all processes ends the loader's workers, too
                raise

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.config.optimiser.steps

    def _validate(self, validate: Validate, signals: HeldSignals) -> None:
        if not self._due(self.config.optimiser.validate_every):
            return
        if self.ranks.first:
            with signals.released():
                validate(self.average, self.step)
        self.ranks.wait()

    def _train_step(self, batch: Batch) -> dict[str, float]:
        """Take one step; return the loss, named "total", and its parts, of the whole batch."""
        torch.manual_seed(self._step_seed())
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        cubes = batch.cubes.to(self.device).to(memory_format=torch.channels_last_3d)
        self.parallel.train()
        with half_precision(self.device):
            prediction = self.ranks.whole_prediction(self.parallel(cubes))
        loss = self.network.loss(prediction, self.ranks.whole_batch(batch), halo=self.config.data.halo)
        self.optimiser.zero_grad(set_to_none=True)
        (loss.total * self.ranks.count).backward()  # type: ignore[no-untyped-call]  # the ranks' mean is their sum
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimiser.clip_norm)
        losses = self._losses(loss)
        if not math.isfinite(losses["total"] + float(norm)):
            raise UsageError(
                84, str(self.folder), f"the loss or its gradient is not finite at step {self.step}",
                "resume from the last checkpoint with a lower learning_rate",
            )  # fmt: skip
        self.optimiser.step()
        self._update_average()
        return losses

    def _step_seed(self) -> int:
        """Return the seed of what PyTorch draws in this step, so that a resumed run draws the same."""
        return int(np.random.SeedSequence((self.config.seed, self.step, self.ranks.rank)).generate_state(1)[0])

    def _losses(self, loss: Loss) -> dict[str, float]:
        values = torch.stack([loss.total.detach(), *(part.detach() for part in loss.parts.values())])
        return dict(zip(("total", *loss.parts), values.tolist(), strict=True))

    def _update_average(self) -> None:
        decay = min(self.config.optimiser.average, (1.0 + self.step) / (10.0 + self.step))
        with torch.no_grad():
            for mean, value in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
                if mean.dtype.is_floating_point:
                    mean.lerp_(value.to(mean.dtype), 1.0 - decay)
                else:
                    mean.copy_(value)

    def _progress(self, losses: Mapping[str, float], pace: Pace, elapsed: float, seconds: float) -> Progress:
        steps = self.config.optimiser.steps
        return Progress(
            step=self.step,
            steps=steps,
            total=losses["total"],
            parts={name: value for name, value in losses.items() if name != "total"},
            seconds=elapsed,
            steps_per_second=pace.steps_per_second,
            seconds_left=min((steps - self.step) / pace.steps_per_second, max(seconds - elapsed, 0.0)),
        )

    def _out_of_memory(self) -> EngineError:
        batch, crop = self.config.optimiser.batch, self.config.data.crop
        return EngineError(
            61, str(self.device), f"its memory is too small for a batch of {batch} cubes of {crop} voxels",
            "a smaller optimiser.batch in the configuration, or more GPUs by torchrun; the run goes on where it was",
        )  # fmt: skip

    def _save(self) -> None:
        if not self.ranks.first:
            return
        checkpoint = Checkpoint(
            step=self.step, weights=self.network.state_dict(), average=self.average.state_dict(),
            optimiser=self.optimiser.state_dict(),
        )  # fmt: skip
        save_checkpoint(self.folder, checkpoint)

    def _resume(self) -> None:
        checkpoint = load_checkpoint(self.folder)
        if checkpoint is not None:
            self.step = checkpoint.step
            self.network.load_state_dict(checkpoint.weights)
            self.average.load_state_dict(checkpoint.average)
            self.optimiser.load_state_dict(checkpoint.optimiser)

"""Loading: batches of samples, each a function of (seed, step, place in the batch) alone."""

import atexit
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from picker_runtime.errors import PickerError
from picker_training.augmentation import Augmentation, Sample, SampleSource, happens, make_sample, mixed


class Pool(Protocol):
    """What training samples come from: numbered sources, the same for the same seed."""

    @property
    def seed(self) -> int:
        """Seed of the samples."""
        ...

    @property
    def size(self) -> int:
        """Number of sources."""
        ...

    def __getitem__(self, number: int) -> SampleSource:
        """Return a source, made on first use."""
        ...


@dataclass(frozen=True)
class Batch:
    """Samples stacked: cubes `(n, 1, d, h, w) float32`; the rest one tensor per cube, as in `Sample`.

    unknown: `(n, d, h, w) bool`; None if nothing is unknown in any cube.
    """

    cubes: Tensor
    positions: list[Tensor]
    class_ids: list[Tensor]
    ignored: list[Tensor] = field(default_factory=list)
    unknown: Tensor | None = None


FIRST_SOURCES, SAMPLES_PER_SOURCE = 8, 8
"""The first samples come from so few sources, and after so many more from one more: scenes are simulated as they are
first asked for, which takes longer than several steps."""


class SampleDataset(Dataset[Sample | PickerError]):
    """Samples by running number, whatever worker or rank asks for them and however often the run was resumed.

    An error of ours takes the place of its sample: raised in a worker it would arrive as one of PyTorch's.
    """

    def __init__(self, pool: Pool, augmentation: Augmentation, *, first: int, count: int) -> None:
        self._pool = pool
        self._augmentation = augmentation
        self._first = first
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample | PickerError:
        try:
            return self._mixed(index)
        except PickerError as error:
            return error

    def _mixed(self, index: int) -> Sample:
        number = self._first + index
        rng = np.random.default_rng((self._pool.seed, number, 7))
        sample = self._sample(number, rng)
        if not happens(self._augmentation.mix_probability, rng):
            return sample
        return mixed(sample, self._sample(number, rng), rng)

    def _sample(self, number: int, rng: np.random.Generator) -> Sample:
        size = min(self._pool.size, FIRST_SOURCES + number // SAMPLES_PER_SOURCE)
        return make_sample(self._pool[int(rng.integers(size))], self._augmentation, rng)


def collate(samples: list[Sample]) -> Batch:
    """Stack samples into a batch."""
    return Batch(
        torch.from_numpy(np.stack([s.cube for s in samples]))[:, None],
        [torch.from_numpy(s.positions) for s in samples],
        [torch.from_numpy(s.class_ids) for s in samples],
        [torch.from_numpy(s.ignored) for s in samples],
        _stacked_unknown(samples),
    )


def _collate_or_error(samples: list[Sample | PickerError]) -> Batch | PickerError:
    """Return the batch, or the first error that stands in place of a sample."""
    errors = [sample for sample in samples if isinstance(sample, PickerError)]
    return errors[0] if errors else collate([sample for sample in samples if isinstance(sample, Sample)])


def concatenated(batches: Sequence[Batch]) -> Batch:
    """Return one batch of the samples of several."""
    values: dict[str, Any] = {}
    for name in (f.name for f in fields(Batch)):
        parts = [getattr(batch, name) for batch in batches]
        if isinstance(parts[0], list):
            values[name] = [one for part in parts for one in part]
        elif any(part is not None for part in parts):
            like = next(part for part in parts if part is not None)
            values[name] = torch.cat([torch.zeros_like(like) if part is None else part for part in parts])
    return Batch(**values)


def _stacked_unknown(samples: list[Sample]) -> Tensor | None:
    if all(s.unknown is None for s in samples):
        return None
    return torch.from_numpy(
        np.stack([np.zeros(s.cube.shape, np.bool_) if s.unknown is None else s.unknown for s in samples])
    )


def batches(
    pool: Pool,
    augmentation: Augmentation,
    *,
    batch: int,
    first_step: int,
    steps: int,
    workers: int,
    rank: int = 0,
    ranks: int = 1,
) -> Iterator[Batch]:
    """Yield the batches of steps `first_step .. steps - 1`; of several ranks each gets its share of every batch.

    Raises:
        InputError, OutputError: as the pool, if a source cannot be read or kept.
    """
    dataset = SampleDataset(pool, augmentation, first=first_step * batch, count=(steps - first_step) * batch)
    loader = DataLoader(
        dataset,
        batch_sampler=shares(batch, steps - first_step, rank=rank, ranks=ranks),
        collate_fn=_collate_or_error,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_begin_worker if workers else None,
    )
    for loaded in loader:
        if isinstance(loaded, PickerError):
            raise loaded
        yield loaded


def shares(batch: int, steps: int, *, rank: int, ranks: int) -> list[list[int]]:
    """Return the samples of a rank in each step: consecutive parts of the batch, in the order of the ranks."""
    first, last = batch * rank // ranks, batch * (rank + 1) // ranks
    return [list(range(step * batch + first, step * batch + last)) for step in range(steps)]


def _begin_worker(_worker: int) -> None:
    torch.set_num_threads(1)
    atexit.register(os._exit, 0)  # a batch on its way out in a thread of PyTorch's would abort Python's own clean-up
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to all processes; the run ends its workers itself
        signal.signal(number, signal.SIG_IGN)

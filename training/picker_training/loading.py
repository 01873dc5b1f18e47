"""Loading: batches of samples, each a function of (seed, step, place in the batch) alone."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from picker_training.augmentation import Augmentation, Sample, SampleSource, make_sample


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
    """Samples stacked: cubes `(n, 1, d, h, w) float32`; the rest one tensor per cube, as in `Sample`."""

    cubes: Tensor
    positions: list[Tensor]
    class_ids: list[Tensor]
    ignored: list[Tensor] = field(default_factory=list)


class SampleDataset(Dataset[Sample]):
    """Samples by running number, whatever worker or rank asks for them and however often the run was resumed."""

    def __init__(self, pool: Pool, augmentation: Augmentation, *, first: int, count: int) -> None:
        self._pool = pool
        self._augmentation = augmentation
        self._first = first
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng((self._pool.seed, self._first + index, 7))
        return make_sample(self._pool[int(rng.integers(self._pool.size))], self._augmentation, rng)


def collate(samples: list[Sample]) -> Batch:
    """Stack samples into a batch."""
    return Batch(
        torch.from_numpy(np.stack([s.cube for s in samples]))[:, None],
        [torch.from_numpy(s.positions) for s in samples],
        [torch.from_numpy(s.class_ids) for s in samples],
        [torch.from_numpy(s.ignored) for s in samples],
    )


def batches(
    pool: Pool, augmentation: Augmentation, *, batch: int, first_step: int, steps: int, workers: int
) -> Iterator[Batch]:
    """Yield the batches of steps `first_step .. steps - 1`."""
    dataset = SampleDataset(pool, augmentation, first=first_step * batch, count=(steps - first_step) * batch)
    loader = DataLoader(
        dataset,
        batch_size=batch,
        collate_fn=collate,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_one_thread if workers else None,
    )
    yield from loader


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)

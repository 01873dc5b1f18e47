"""Ranks: the processes of one run, one for each GPU, as `torchrun` starts them; a process alone is rank 0 of 1.

Each rank computes the predictions of its share of a batch; then every rank has those of the whole batch, computes the
loss as one process would, and differentiates it by its own share. Summed over the ranks that is the whole gradient, so
a run is the same whatever the number of its ranks and however a loss counts.
"""

import math
import os
import re
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from picker_runtime.console import Stopped
from picker_runtime.errors import EngineError, PickerError, UsageError
from picker_training.loading import Batch, concatenated
from picker_training.synced_norm import synchronise_batch_norm

PATIENCE = timedelta(hours=6)
"""How long ranks wait for rank 0 to validate or simulate; when a rank dies, `torchrun` ends the others at once."""

FIRST_TO_FAIL = "picker/failed"
LOST = re.compile(
    r"closed by peer|reset by peer|broken pipe|connection refused|timed out|NCCL|unhandled", re.IGNORECASE
)
"""What PyTorch says in a rank that waits for one that has died."""


class Hushed(Exception):  # noqa: N818
    """Another rank has said why the run ends; `status` is the exit status of what ended this one."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among those of its run: `rank` of `count`."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes, validates and prints."""
        return self.rank == 0

    def any(self, said: bool) -> bool:
        """Tell whether any rank says so; all ranks have to ask."""
        if self.count == 1:
            return said
        votes = torch.tensor(int(said))
        distributed.all_reduce(votes)
        return bool(votes)

    def wait(self) -> None:
        """Wait until every rank is here."""
        self.any(False)

    def parallel(self, network: nn.Module) -> nn.Module:
        """Return the network as each rank trains it: gradients are averaged over the ranks, BatchNorm sees all cubes.

        Its weights stay those of `network`; what `network` is made of changes.
        """
        if self.count == 1:
            return network
        device = next(network.parameters()).device
        synchronise_batch_norm(network)
        warnings.filterwarnings("ignore", "Grad strides do not match")  # of kernels of one voxel, where it is no matter
        return DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)

    def whole_batch(self, batch: Batch) -> Batch:
        """Return the batch of all ranks; its cubes have their shape but no voxels (NaN), which no loss needs."""
        if self.count == 1:
            return batch
        shape = batch.cubes.shape
        parts: list[Any] = [None] * self.count
        distributed.all_gather_object(parts, replace(batch, cubes=torch.full((), math.nan).expand(shape)))
        return concatenated(parts)

    def whole_prediction(self, prediction: Any) -> Any:
        """Return the predictions of all ranks, tensors joined along their first axis; gradients reach one's own part.

        prediction: a tensor, or a dataclass, mapping or sequence of such.
        """
        if self.count == 1 or prediction is None:
            return prediction
        if isinstance(prediction, Tensor):
            mine = prediction.detach().contiguous()
            parts = [torch.empty_like(mine) for _ in range(self.count)]
            distributed.all_gather(parts, mine)
            parts[self.rank] = prediction
            return torch.cat(parts)
        if is_dataclass(prediction) and not isinstance(prediction, type):
            names = [f.name for f in fields(prediction)]
            return replace(prediction, **{n: self.whole_prediction(getattr(prediction, n)) for n in names})
        if isinstance(prediction, Mapping):
            return {name: self.whole_prediction(value) for name, value in prediction.items()}
        return type(prediction)(self.whole_prediction(value) for value in prediction)


def current() -> Ranks:
    """Return the place of this process among those that it has joined."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return Ranks()
    return Ranks(rank=distributed.get_rank(), count=distributed.get_world_size())


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Join the other processes that `torchrun` started; give this one's place among them.

    Raises:
        EngineError: E61 if another rank has died.
        Hushed: instead of any error, if another rank failed before this one and has said why.
    """
    gpu = not device.startswith("cpu") and torch.cuda.is_available()
    try:
        distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=PATIENCE)
    except Stopped as stop:  # `torchrun` stops the ranks that have not failed
        raise Hushed(_exit_status(stop)) from stop
    ranks = current()
    try:
        yield ranks
    except (Exception, Stopped) as error:
        _ignore_stopping()
        known = _as_ours(error, ranks)
        if not _first_to_fail():
            raise Hushed(_exit_status(known)) from error
        raise known from error
    finally:
        with suppress(RuntimeError):
            distributed.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """Return the GPU of this process, by its number on its machine; any other device as it is.

    Raises:
        EngineError: E60 if there are more processes than GPUs.
    """
    if device.type != "cuda" or current().count == 1:
        return device
    number, found = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= found:
        problem = f"process {number + 1} on this machine has no GPU of its own, there are {found}"
        raise EngineError(60, f"cuda:{number}", problem, f"torchrun --nproc-per-node {found}")
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def check_batch(batch: int, ranks: Ranks) -> None:
    """Check that the ranks have equal shares of each batch.

    Raises:
        UsageError: E83 if they have not.
    """
    if batch % ranks.count:
        problem = f"{batch}, expected a multiple of the {ranks.count} processes"
        raise UsageError(83, "optimiser.batch", problem, "set it to one, or start as many processes as divide it")


def _as_ours(error: BaseException, ranks: Ranks) -> BaseException:
    if isinstance(error, RuntimeError) and LOST.search(str(error)):
        problem = "another process of the run ended, and so does this one"
        return EngineError(61, f"rank {ranks.rank}", problem, "run again: it goes on from the last checkpoint")
    return error


def _exit_status(error: BaseException) -> int:
    if isinstance(error, Stopped):
        return 128 + error.number
    return error.exit_status if isinstance(error, PickerError) else 1


def _ignore_stopping() -> None:
    """Ignore SIGTERM in a rank that ends anyway: `torchrun` sends it to all others once one has ended."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _first_to_fail() -> bool:
    """Tell whether this rank may say why the run ends; if the others cannot be asked any more, it may."""
    try:
        store = distributed.distributed_c10d._get_default_store()
        return int(store.add(FIRST_TO_FAIL, 1)) == 1
    except (RuntimeError, ValueError):
        return True

"""What a GPU engine asks of a device, and what a library's network asks of and gives to whoever feeds it.

`Device` is memory, copies, streams, events and captured graphs, without a word on who provides them. `Network` is a
model's graph loaded by a library; `Execution` is one of its contexts, bound to addresses, to be enqueued again and
again. Streams, events and captured graphs are plain integers (the driver's handles), as every library takes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class DeviceBuffer:
    """Bytes on the device, at an address."""

    address: int
    nbytes: int


@dataclass(frozen=True, kw_only=True)
class PinnedBuffer:
    """Page-locked bytes of the host, which copies reach without the processor.

    array: `(nbytes,) uint8`, a view of them, valid until the buffer is freed.
    """

    address: int
    nbytes: int
    array: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class MemoryInfo:
    """Bytes of the device that are free and that there are."""

    free: int
    total: int


@dataclass(frozen=True, kw_only=True)
class DeviceFacts:
    """Which device it is; `driver` is the CUDA version that its driver speaks, as 13000 for 13.0."""

    index: int
    name: str
    compute_capability: tuple[int, int]
    driver: int


class Device(Protocol):
    """One GPU. Every call may raise EngineError E61 with the driver's own reason.

    What is asynchronous is ordered by its stream alone. Buffers stay the caller's until freed, and must outlive what is
    enqueued on them.
    """

    facts: DeviceFacts

    def memory_info(self) -> MemoryInfo:
        """Return the memory that is free now and that there is."""
        ...

    def allocate(self, nbytes: int) -> DeviceBuffer:
        """Return new bytes on the device, aligned to 256; raises `DeviceMemoryError` if there are not as many."""
        ...

    def free(self, buffer: DeviceBuffer) -> None:
        """Give the bytes back; the caller has synchronised what used them."""
        ...

    def allocate_pinned(self, nbytes: int) -> PinnedBuffer:
        """Return new page-locked bytes of the host; raises `DeviceMemoryError` if there are not as many."""
        ...

    def free_pinned(self, buffer: PinnedBuffer) -> None:
        """Give the page-locked bytes back."""
        ...

    def copy_to_device_async(
        self, source: PinnedBuffer, target: DeviceBuffer, nbytes: int, *, stream: int, at: int = 0
    ) -> None:
        """Enqueue a copy of the first bytes of `source` to `target`, from byte `at` of the target on."""
        ...

    def copy_to_host_async(
        self, source: DeviceBuffer, target: PinnedBuffer, nbytes: int, *, stream: int, at: int = 0
    ) -> None:
        """Enqueue a copy of the first bytes of `source` to `target`, from byte `at` of the target on."""
        ...

    def create_stream(self) -> int:
        """Return a new stream that does not wait for the default one."""
        ...

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream."""
        ...

    def synchronise(self, stream: int) -> None:
        """Wait until all that is enqueued on the stream is done."""
        ...

    def create_event(self) -> int:
        """Return a new event."""
        ...

    def destroy_event(self, event: int) -> None:
        """Destroy an event."""
        ...

    def record_event(self, event: int, stream: int) -> None:
        """Enqueue that the event happens."""
        ...

    def wait_event(self, stream: int, event: int) -> None:
        """Enqueue that the stream goes on only when the event has happened."""
        ...

    def synchronise_event(self, event: int) -> None:
        """Wait, on the host, until the event has happened."""
        ...

    def begin_capture(self, stream: int) -> None:
        """Record what is enqueued on the stream from now on, instead of doing it."""
        ...

    def end_capture(self, stream: int) -> int:
        """Return what was recorded as a graph that can be replayed."""
        ...

    def replay(self, graph: int, stream: int) -> None:
        """Enqueue a recorded graph."""
        ...

    def destroy_graph(self, graph: int) -> None:
        """Destroy a recorded graph."""
        ...

    def close(self) -> None:
        """Free whatever is left and let go of the device."""
        ...


class DeviceMemoryError(MemoryError):
    """The device, or the host's page-locked memory, has no room for an allocation: try a smaller tile or batch."""


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """A tensor of a network: its shape and the type of its elements."""

    shape: Shape
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor, packed, in C order."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


class Execution(Protocol):
    """A network bound to buffers: run it as often as you like, one run at a time."""

    @property
    def capturable(self) -> bool:
        """Whether `enqueue` may be recorded between `begin_capture` and `end_capture`, after one run without."""
        ...

    def enqueue(self, stream: int) -> None:
        """Enqueue one run: bound inputs to bound outputs; raises EngineError E61 if the library refuses."""
        ...

    def close(self) -> None:
        """Free the context; the caller has synchronised its stream."""
        ...


class Network(Protocol):
    """A model's graph on a device; inputs and outputs are those of `engines.cpu`: INPUTS and OUTPUTS.

    name: of the engine, as users write it. note: what a user should know of how it came to be; None for nothing.
    """

    name: str
    note: str | None

    def tensors(self, cubes: Shape) -> dict[str, TensorSpec]:
        """Return every input and output by name when `cubes` has this shape (N, 1, D, H, W)."""
        ...

    def activation_bytes(self, cubes: Shape) -> int | None:
        """Return the device memory one execution takes besides its bound buffers; None where it cannot be told."""
        ...

    def bind(self, cubes: Shape, buffers: Mapping[str, DeviceBuffer]) -> Execution:
        """Return an execution on these buffers; one for every slot that is in flight at the same time."""
        ...

    def close(self) -> None:
        """Free the network, after its executions."""
        ...

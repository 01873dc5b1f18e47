"""A device that is no GPU: it records calls and does what is asynchronous with numpy, as late or oddly as rules allow.

What is enqueued runs only when somebody waits for it, or by chance before. Memory is poisoned when it is allocated and
freed, and touching freed memory is an error, so that a buffer used too early or too late spoils a result or raises.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from picker_runtime.engines.cpu import INPUTS, OUTPUTS
from picker_runtime.engines.cutting import KINDS, ORDER
from picker_runtime.engines.device import (
    DeviceBuffer,
    DeviceFacts,
    DeviceMemoryError,
    MemoryInfo,
    PinnedBuffer,
    Shape,
    TensorSpec,
)

POISON = 0xA5
GAP = 1 << 12


@dataclass
class Stream:
    queue: list[tuple[str, Callable[[], None] | int]] = field(default_factory=list)
    recorded: list[tuple[str, Callable[[], None] | int]] | None = None


class FakeDevice:
    """Implements `cutting.CuttingDevice` with host memory; `chance` of running one thing early before each call."""

    facts = DeviceFacts(index=0, name="fake", compute_capability=(0, 0), driver=0)

    def __init__(self, *, memory: int = 1 << 30, chance: float = 0.0, seed: int = 0) -> None:
        self.memory, self.chance, self.random = memory, chance, random.Random(seed)
        self.calls: list[str] = []
        self.blocks: dict[int, np.ndarray] = {}
        self.pinned: dict[int, np.ndarray] = {}
        self.streams: dict[int, Stream] = {}
        self.events: dict[int, int] = {}  # how often it was recorded
        self.happened: Counter[int] = Counter()
        self.graphs: dict[int, list[tuple[str, Callable[[], None] | int]]] = {}
        self.next = 1 << 20
        self.lock = threading.RLock()
        self.most_used = 0
        self.closed = False

    # memory

    def memory_info(self) -> MemoryInfo:
        used = sum(block.nbytes for block in self.blocks.values())
        return MemoryInfo(free=self.memory - used, total=self.memory)

    def allocate(self, nbytes: int) -> DeviceBuffer:
        with self.lock:
            if nbytes > self.memory_info().free:
                raise DeviceMemoryError("fake")
            address = self._address(nbytes)
            self.blocks[address] = np.full(nbytes, POISON, np.uint8)
            self.most_used = max(self.most_used, self.memory - self.memory_info().free)
            return DeviceBuffer(address=address, nbytes=nbytes)

    def free(self, buffer: DeviceBuffer) -> None:
        with self.lock:
            self.blocks.pop(buffer.address)[:] = POISON

    def allocate_pinned(self, nbytes: int) -> PinnedBuffer:
        with self.lock:
            address = self._address(nbytes)
            self.pinned[address] = np.full(nbytes, POISON, np.uint8)
            return PinnedBuffer(address=address, nbytes=nbytes, array=self.pinned[address])

    def free_pinned(self, buffer: PinnedBuffer) -> None:
        with self.lock:
            self.pinned.pop(buffer.address)[:] = POISON

    def bytes_at(self, address: int, nbytes: int) -> np.ndarray:
        """Return a view of device memory; freed or foreign memory is an error."""
        for start, block in self.blocks.items():
            if start <= address and address + nbytes <= start + block.nbytes:
                return block[address - start : address - start + nbytes]
        raise AssertionError(f"{nbytes} bytes at {address} are not allocated")

    # work

    def copy_to_device_async(
        self, source: PinnedBuffer, target: DeviceBuffer, nbytes: int, *, stream: int, at: int = 0
    ) -> None:
        def copy() -> None:
            self.bytes_at(target.address + at, nbytes)[:] = self.pinned[source.address][:nbytes]

        self.enqueue("up", copy, stream)

    def copy_to_host_async(
        self, source: DeviceBuffer, target: PinnedBuffer, nbytes: int, *, stream: int, at: int = 0
    ) -> None:
        def copy() -> None:
            self.pinned[target.address][at : at + nbytes] = self.bytes_at(source.address, nbytes)

        self.enqueue("down", copy, stream)

    def cut_async(self, orders: DeviceBuffer, cubes: DeviceBuffer, *, count: int, shape: Shape, stream: int) -> None:
        def cut() -> None:
            rows = self.bytes_at(orders.address, count * ORDER.itemsize).view(ORDER)
            out = self.bytes_at(cubes.address, count * int(np.prod(shape)) * 4).view("f4").reshape(count, *shape)
            for row, cube in zip(rows, out, strict=True):
                self._cut(row, cube)

        self.enqueue("cut", cut, stream)

    def _cut(self, order: np.void, cube: np.ndarray) -> None:
        if not order["used"]:
            cube[:] = 0
            return
        dtype = np.dtype(("<", ">")[int(order["swapped"])] + KINDS[order["kind"]])
        _, ny, nx = (int(n) for n in order["shape"])
        ring = self.bytes_at(int(order["volume"]), int(order["ring"]) * ny * nx * dtype.itemsize)
        planes = ring.view(dtype).reshape(-1, ny, nx)
        indices, inside = [], []
        for start, edge, length in zip(order["start"], cube.shape, order["shape"], strict=True):
            at = np.arange(start, start + edge)
            inside.append((at >= 0) & (at < length))
            at = np.abs((at + length - 1) % (2 * (length - 1)) - (length - 1))
            indices.append(at)
        values = planes[np.ix_(indices[0] % order["ring"], indices[1], indices[2])].astype(np.float32)
        finite = np.isfinite(values)
        order["finite"] = finite[np.ix_(*inside)].any()
        cube[:] = np.where(finite, values, order["filler"])

    def enqueue(self, name: str, work: Callable[[], None] | int, stream: int) -> None:
        with self.lock:
            self._now_and_then()
            one = self.streams[stream]
            self.calls.append(name if one.recorded is None else f"record {name}")
            (one.queue if one.recorded is None else one.recorded).append((name, work))

    # streams, events, graphs

    def create_stream(self) -> int:
        return self._handle(self.streams, Stream())

    def destroy_stream(self, stream: int) -> None:
        with self.lock:
            assert not self.streams.pop(stream).queue, "a stream is destroyed with work on it"

    def synchronise(self, stream: int) -> None:
        with self.lock:
            self.calls.append("synchronise")
            while self.streams[stream].queue:
                self._run_one(stream)

    def create_event(self) -> int:
        return self._handle(self.events, 0)

    def destroy_event(self, event: int) -> None:
        with self.lock:
            del self.events[event]

    def record_event(self, event: int, stream: int) -> None:
        with self.lock:
            self.events[event] += 1
            self.enqueue("record_event", event, stream)

    def wait_event(self, stream: int, event: int) -> None:
        with self.lock:
            times = self.events[event]
            self.enqueue("wait_event", lambda: self._until(event, times), stream)

    def synchronise_event(self, event: int) -> None:
        with self.lock:
            self.calls.append("synchronise_event")
            self._until(event, self.events[event])

    def begin_capture(self, stream: int) -> None:
        with self.lock:
            self.calls.append("begin_capture")
            self.streams[stream].recorded = []

    def end_capture(self, stream: int) -> int:
        with self.lock:
            self.calls.append("end_capture")
            recorded, self.streams[stream].recorded = self.streams[stream].recorded, None
            assert recorded is not None
            return self._handle(self.graphs, recorded)

    def replay(self, graph: int, stream: int) -> None:
        with self.lock:
            self.calls.append("replay")
            self._now_and_then()
            self.streams[stream].queue += self.graphs[graph]

    def destroy_graph(self, graph: int) -> None:
        with self.lock:
            del self.graphs[graph]

    def close(self) -> None:
        left = [self.blocks, self.pinned, self.streams, self.events, self.graphs]
        assert [len(kind) for kind in left] == [0] * 5, "something was not freed"
        self.closed = True

    def _handle(self, table: dict, value: object) -> int:
        with self.lock:
            handle = self._address(1)
            table[handle] = value
            return handle

    def _address(self, nbytes: int) -> int:
        address, self.next = self.next, self.next + -(-nbytes // GAP) * GAP + GAP
        return address

    def _until(self, event: int, times: int) -> None:
        while self.happened[event] < times:
            stream = next(s for s, one in self.streams.items() if ("record_event", event) in one.queue)
            self._run_one(stream)

    def _run_one(self, stream: int) -> None:
        _, work = self.streams[stream].queue[0]
        if callable(work):
            work()  # first: it may wait for other streams
            self.streams[stream].queue.pop(0)
        else:
            self.streams[stream].queue.pop(0)
            self.happened[work] += 1

    def _now_and_then(self) -> None:
        if self.chance and self.random.random() < self.chance:
            busy = [stream for stream, one in self.streams.items() if one.queue]
            if busy:
                self._run_one(self.random.choice(busy))


class FakeNetwork:
    """A graph that says of each cube where its brightest voxels are; it keeps the cubes that it saw."""

    name, note = "fake", None
    slots = 4

    def __init__(self, device: FakeDevice, *, activations: int = 0, capturable: bool = True) -> None:
        self.device, self.activations, self.capturable = device, activations, capturable
        self.closed = False
        self.executions = 0

    def tensors(self, cubes: Shape) -> dict[str, TensorSpec]:
        n, k = cubes[0], self.slots
        shapes = {"cubes": cubes, "mean": (n,), "inverse_std": (n,)}
        shapes |= {"centers": (n, k, 3), "diameters": (n, k), "scores": (n, k), "class_ids": (n, k)}
        return {
            name: TensorSpec(shape=shape, dtype=np.dtype("i8" if name == "class_ids" else "f4"))
            for name, shape in shapes.items()
        }

    def activation_bytes(self, cubes: Shape) -> int | None:
        return None

    def bind(self, cubes: Shape, buffers: Mapping[str, DeviceBuffer]) -> "FakeExecution":
        activations = self.device.allocate(self.activations * int(np.prod(cubes)))
        self.executions += 1
        return FakeExecution(self, cubes, dict(buffers), activations)

    def close(self) -> None:
        assert self.executions == 0
        self.closed = True


class FakeExecution:
    def __init__(
        self, network: FakeNetwork, cubes: Shape, buffers: dict[str, DeviceBuffer], activations: DeviceBuffer
    ) -> None:
        self.network, self.buffers, self.activations = network, buffers, activations
        self.specs, self.capturable = network.tensors(cubes), network.capturable

    def enqueue(self, stream: int) -> None:
        self.network.device.enqueue("infer", self._infer, stream)

    def close(self) -> None:
        self.network.executions -= 1
        self.network.device.free(self.activations)

    def _infer(self) -> None:
        tensors = {}
        for name in (*INPUTS, *OUTPUTS):
            spec, buffer = self.specs[name], self.buffers[name]
            tensors[name] = self.network.device.bytes_at(buffer.address, spec.nbytes).view(spec.dtype)
            tensors[name] = tensors[name].reshape(spec.shape)
        for row, cube in enumerate(tensors["cubes"][:, 0]):
            found = brightest(cube, tensors["mean"][row], tensors["inverse_std"][row], self.network.slots)
            for name, values in zip(OUTPUTS, found, strict=True):
                tensors[name][row] = values


def brightest(cube: np.ndarray, mean: float, inverse_std: float, count: int) -> tuple[np.ndarray, ...]:
    """Return centers, diameters, scores and classes: a fingerprint of all that a graph is given."""
    best = np.argsort(cube.ravel(), kind="stable")[::-1][:count]
    centers = np.stack(np.unravel_index(best, cube.shape), axis=1).astype(np.float32)
    total = np.float32(np.abs(cube.astype(np.float64)).sum() % 1e6)
    values = (cube.ravel()[best] - mean) * inverse_std
    return centers, values.astype(np.float32), np.full(count, 1 + total, np.float32), np.arange(count)

"""A device that does one thing after another and says how long each took: the GPU pipeline's stages, apart."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from picker_runtime.engines.cutting import CuttingDevice
from picker_runtime.engines.device import DeviceBuffer, Execution, Network, PinnedBuffer, Shape, TensorSpec
from picker_runtime.engines.uploading import STAGING_BYTES
from picker_runtime.geometry import Triple


class TimedDevice:
    """Another device, waited for after every call that would return before its work is done.

    seconds: by stage (upload, orders, cut, network, results), without what one thread waits for another.
    """

    def __init__(self, device: CuttingDevice) -> None:
        self._device = device
        self._one = threading.Lock()
        self.seconds: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def copy_to_device_async(
        self, source: PinnedBuffer, target: DeviceBuffer, nbytes: int, *, stream: int, at: int = 0
    ) -> None:
        with self.clock("upload" if source.nbytes == STAGING_BYTES else "orders", stream):
            self._device.copy_to_device_async(source, target, nbytes, stream=stream, at=at)

    def copy_to_host_async(
        self, source: DeviceBuffer, target: PinnedBuffer, nbytes: int, *, stream: int, at: int = 0
    ) -> None:
        with self.clock("results", stream):
            self._device.copy_to_host_async(source, target, nbytes, stream=stream, at=at)

    def cut_async(self, orders: DeviceBuffer, cubes: DeviceBuffer, *, count: int, shape: Triple, stream: int) -> None:
        with self.clock("cut", stream):
            self._device.cut_async(orders, cubes, count=count, shape=shape, stream=stream)

    @contextmanager
    def clock(self, stage: str, stream: int) -> Iterator[None]:
        """Give the time until the stream's work is done to a stage; nothing else runs meanwhile."""
        with self._one:
            self._device.synchronise(stream)  # what was enqueued before is not this stage's
            started = time.perf_counter()
            yield
            self._device.synchronise(stream)
            self.seconds[stage] += time.perf_counter() - started


class TimedNetwork:
    """A network whose runs are timed on a `TimedDevice`."""

    def __init__(self, network: Network, device: TimedDevice) -> None:
        self._network, self._device = network, device
        self.name, self.note = network.name, network.note

    def tensors(self, cubes: Shape) -> dict[str, TensorSpec]:
        return self._network.tensors(cubes)

    def activation_bytes(self, cubes: Shape) -> int | None:
        return self._network.activation_bytes(cubes)

    def bind(self, cubes: Shape, buffers: Mapping[str, DeviceBuffer]) -> Execution:
        return _TimedExecution(self._network.bind(cubes, buffers), self._device)

    def close(self) -> None:
        self._network.close()


class _TimedExecution:
    capturable = False  # a recorded graph would be one stage

    def __init__(self, execution: Execution, device: TimedDevice) -> None:
        self._execution, self._device = execution, device
        self._runs = 0

    def enqueue(self, stream: int) -> None:
        with self._device.clock("network" if self._runs else "first run", stream):
            self._execution.enqueue(stream)
        self._runs += 1

    def close(self) -> None:
        self._execution.close()

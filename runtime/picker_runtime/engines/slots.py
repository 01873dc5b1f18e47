"""Slots: the buffers, the stream and the recorded graph of one batch in flight."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picker_runtime.engines.base import Candidates
from picker_runtime.engines.cpu import INPUTS, OUTPUTS, row_candidates
from picker_runtime.engines.cutting import ORDER, CuttingDevice
from picker_runtime.engines.device import DeviceBuffer, Network, PinnedBuffer, Shape, TensorSpec
from picker_runtime.errors import EngineError

ALIGNMENT = 256


class Block:
    """Tensors that lie one after another on the device and, mirrored, in page-locked memory: one copy moves all."""

    def __init__(self, device: CuttingDevice, tensors: dict[str, TensorSpec], undo: ExitStack) -> None:
        offsets, end = {}, 0
        for name, tensor in tensors.items():
            offsets[name] = end
            end += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
        self.nbytes = end
        self.device: DeviceBuffer = device.allocate(end)
        undo.callback(device.free, self.device)
        self.host: PinnedBuffer = device.allocate_pinned(end)
        undo.callback(device.free_pinned, self.host)
        self.parts: dict[str, DeviceBuffer] = {}
        self.arrays: dict[str, NDArray[Any]] = {}
        for name, tensor in tensors.items():
            at, size = offsets[name], tensor.nbytes
            self.parts[name] = DeviceBuffer(address=self.device.address + at, nbytes=size)
            self.arrays[name] = self.host.array[at : at + size].view(tensor.dtype).reshape(tensor.shape)


class Slot:
    """One batch in flight: orders go in, candidates come out; free it with `close` after `wait`.

    Raises:
        DeviceMemoryError: if there is no room for it.
        EngineError: E61 if the network does not take or give what it should.
    """

    def __init__(self, device: CuttingDevice, network: Network, cubes: Shape) -> None:
        self._device = device
        self._shape = cubes
        specs = network.tensors(cubes)
        if specs["cubes"].dtype != np.float32:
            problem = f"the graph takes cubes of {specs['cubes'].dtype}, not float32"
            raise EngineError(61, network.name, problem, "export the model again")
        with ExitStack() as undo:
            self._cubes = device.allocate(specs["cubes"].nbytes)
            undo.callback(device.free, self._cubes)
            numbers = {name: specs[name] for name in INPUTS if name != "cubes"}
            self._head = Block(device, {"orders": TensorSpec(shape=cubes[:1], dtype=ORDER), **numbers}, undo)
            self._results = Block(device, {name: specs[name] for name in OUTPUTS}, undo)
            self.stream = device.create_stream()
            undo.callback(device.destroy_stream, self.stream)
            self._done = device.create_event()
            undo.callback(device.destroy_event, self._done)
            inputs = {"cubes": self._cubes} | {name: self._head.parts[name] for name in numbers}
            self._execution = network.bind(cubes, inputs | self._results.parts)
            undo.callback(self._execution.close)
            self._undo = undo.pop_all()
        self._runs = 0
        self._graph: int | None = None

    def submit(self, orders: Sequence[NDArray[np.void]], *, mean: float, inverse_std: float) -> None:
        """Enqueue a batch of at most as many orders as there are cubes; its last results have been taken."""
        rows = self._head.arrays["orders"]
        rows[:] = np.zeros((), ORDER)
        for row, order in enumerate(orders):
            rows[row] = order
        self._head.arrays["mean"][:] = mean
        self._head.arrays["inverse_std"][:] = inverse_std
        if self._runs == 1 and self._execution.capturable:  # libraries settle down in their first run
            self._record()
        if self._graph is None:
            self._enqueue()
        else:
            self._device.replay(self._graph, self.stream)
        self._device.record_event(self._done, self.stream)
        self._runs += 1

    def take(self, count: int) -> list[Candidates]:
        """Wait for the batch and return the candidates of its first `count` cubes; none where no voxel is finite."""
        self._device.synchronise_event(self._done)
        finite = self._head.arrays["orders"]["finite"]
        rows = range(count)
        return [row_candidates(self._results.arrays, row) if finite[row] else Candidates.empty() for row in rows]

    def wait(self) -> None:
        """Wait for all that is enqueued."""
        self._device.synchronise(self.stream)

    def close(self) -> None:
        """Free everything."""
        if self._graph is not None:
            self._device.destroy_graph(self._graph)
        self._undo.close()

    def _enqueue(self) -> None:
        device, head, results, stream = self._device, self._head, self._results, self.stream
        device.copy_to_device_async(head.host, head.device, head.nbytes, stream=stream)
        count, _, *edges = self._shape
        depth, height, width = edges
        shape = (depth, height, width)
        device.cut_async(head.parts["orders"], self._cubes, count=count, shape=shape, stream=stream)
        self._execution.enqueue(stream)
        device.copy_to_host_async(results.device, results.host, results.nbytes, stream=stream)
        device.copy_to_host_async(head.parts["orders"], head.host, head.parts["orders"].nbytes, stream=stream)

    def _record(self) -> None:
        """Record the batch as a graph; where that fails, batches are enqueued piece by piece."""
        self._device.begin_capture(self.stream)
        try:
            self._enqueue()
            self._graph = self._device.end_capture(self.stream)
        except EngineError:
            with suppress(EngineError):
                self._device.end_capture(self.stream)

"""Running TensorRT engines: a built plan loaded on a device, bound to buffers, enqueued on a stream.

Call it from the thread in which the device was opened, and only where there is a driver: the libraries crash without.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from picker_runtime.atomic import write_bytes
from picker_runtime.engines.cache import PlanRefusedError
from picker_runtime.engines.cpu import INPUTS, OUTPUTS
from picker_runtime.engines.device import Device, DeviceBuffer, DeviceMemoryError, Shape, TensorSpec
from picker_runtime.engines.tensorrt import Library, Log, import_tensorrt, log_of
from picker_runtime.errors import EngineError, OutputError

OUT_OF_MEMORY = re.compile(r"out ?of ?memory|could not be allocated", re.IGNORECASE)
OTHER_TILE = "try a smaller tile or batch, or another engine"


class TensorRtExecution:
    """A context of an engine, with its tensors at fixed addresses."""

    def __init__(self, context: Any, log: Log, engine_name: str) -> None:
        self._context, self._log, self._name = context, log, engine_name
        self._stream: int | None = None

    @property
    def capturable(self) -> bool:
        """Whether runs may be recorded after the first, which may finish compiling; asked of the library that knows."""
        ask = getattr(self._context, "is_stream_capturable", None)
        return ask is None or self._stream is None or bool(ask(self._stream))

    def enqueue(self, stream: int) -> None:
        """Enqueue one run.

        Raises:
            EngineError: E61 if the library refuses.
        """
        if not self._context.execute_async_v3(stream):
            raise EngineError(61, self._name, f"cannot run: {self._log.take()}", OTHER_TILE)
        self._stream = stream

    def close(self) -> None:
        """Free the context."""
        self._context = None


class TensorRtNetwork:
    """A plan loaded on a device.

    kernels: file that keeps what TensorRT-RTX compiles where it runs; None to compile it every time.

    Raises:
        EngineError: E60 if the library cannot be used here.
        DeviceMemoryError: if there is no room for the plan.
        PlanRefusedError: if the plan is for another GPU, driver or version.
    """

    note: str | None = None

    def __init__(
        self, library: Library, plan: bytes, device: Device, *, kernels: Path | None = None, compatible: bool = False
    ) -> None:
        self.name = library.engine
        self._trt = import_tensorrt(library)
        self._log = log_of(self._trt)
        self._device, self._kernels = device, kernels
        try:
            self._runtime: Any = self._trt.Runtime(self._log.bound)
            if compatible:  # such a plan brings a small runtime of its own
                self._runtime.engine_host_code_allowed = True
            self._engine: Any = self._runtime.deserialize_cuda_engine(plan)
        except Exception as error:  # its own
            raise _not_loaded(str(error)) from error
        if self._engine is None:
            raise _not_loaded(self._log.take())
        self._profiles = [
            tuple(self._engine.get_tensor_profile_shape(INPUTS[0], i)[2])
            for i in range(self._engine.num_optimization_profiles)
        ]
        self._config, self._compiled = self._runtime_config()

    def tensors(self, cubes: Shape) -> dict[str, TensorSpec]:
        """Return every input and output by name when `cubes` has this shape."""
        inputs = dict.fromkeys(INPUTS, cubes[:1]) | {INPUTS[0]: cubes}
        outputs = {name: (cubes[0], *tuple(self._engine.get_tensor_shape(name))[1:]) for name in OUTPUTS}
        return {
            name: TensorSpec(shape=shape, dtype=np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name))))
            for name, shape in (inputs | outputs).items()
        }

    def activation_bytes(self, cubes: Shape) -> int | None:
        """Return the device memory that one execution takes besides its buffers."""
        return int(self._engine.get_device_memory_size_for_profile_v2(self._profile(cubes)))

    def bind(self, cubes: Shape, buffers: Mapping[str, DeviceBuffer]) -> TensorRtExecution:
        """Return an execution on these buffers.

        Raises:
            DeviceMemoryError: if there is no room for a context.
            EngineError: E61 if the shape was not built or a buffer is too small.
        """
        profile = self._profile(cubes)
        context = self._engine.create_execution_context(*(() if self._config is None else (self._config,)))
        if context is None:
            raise DeviceMemoryError(f"{self.name} has no room to run: {self._log.take()}")
        if profile:
            self._select(context, profile)
        for name, spec in self.tensors(cubes).items():
            buffer = buffers[name]
            if buffer.nbytes < spec.nbytes:
                problem = f"{name} takes {spec.nbytes} bytes, its buffer has {buffer.nbytes}"
                raise EngineError(61, self.name, problem, "report this")
            accepted = context.set_tensor_address(name, buffer.address)
            if name in INPUTS:
                accepted = context.set_input_shape(name, spec.shape) and accepted
            if not accepted:
                raise EngineError(61, self.name, f"refuses {name} {spec.shape}: {self._log.take()}", OTHER_TILE)
        return TensorRtExecution(context, self._log, self.name)

    def close(self) -> None:
        """Keep what was compiled here, and free the engine."""
        if self._kernels is not None and self._compiled is not None:
            with suppress(OutputError):  # only speed is lost
                write_bytes(self._kernels, bytes(self._compiled.serialize()))
        self._config = self._compiled = self._engine = self._runtime = None

    def _profile(self, cubes: Shape) -> int:
        if cubes not in self._profiles:
            problem = f"was built for cubes of {self._profiles}, not {cubes}"
            raise EngineError(61, self.name, problem, "build it for this tile and batch")
        return self._profiles.index(cubes)

    def _select(self, context: Any, profile: int) -> None:
        stream = self._device.create_stream()
        try:
            if not context.set_optimization_profile_async(profile, stream):
                raise EngineError(61, self.name, f"refuses profile {profile}: {self._log.take()}", OTHER_TILE)
            self._device.synchronise(stream)
        finally:
            self._device.destroy_stream(stream)

    def _runtime_config(self) -> tuple[Any, Any]:
        """Return how contexts are to run and where their kernels are kept; None for what the library does not have."""
        config: Any = self._engine.create_runtime_config() if hasattr(self._engine, "create_runtime_config") else None
        if config is None or not hasattr(config, "create_runtime_cache"):
            return config, None
        compiled = config.create_runtime_cache()
        if self._kernels is not None and self._kernels.is_file():
            with suppress(OSError):
                compiled.deserialize(self._kernels.read_bytes())  # refused where they do not fit: compiled anew
        config.set_runtime_cache(compiled)
        return config, compiled


def _not_loaded(reason: str) -> Exception:
    """Return what the library's reason means: a plan that would need more memory than is free is as good as before."""
    return DeviceMemoryError(reason) if OUT_OF_MEMORY.search(reason) else PlanRefusedError(reason)

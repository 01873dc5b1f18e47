"""The real device: an NVIDIA GPU through the driver's own interface, with one kernel, compiled when it is opened."""

import ctypes
import threading
from importlib.resources import files
from typing import Any

import numpy as np

from picker_runtime.engines.cpu import load_library
from picker_runtime.engines.device import DeviceBuffer, DeviceFacts, DeviceMemoryError, MemoryInfo, PinnedBuffer
from picker_runtime.errors import EngineError
from picker_runtime.geometry import Triple

BLOCK = (64, 4, 1)
"""Threads of a block along x, y and z of a cube."""

KERNEL = "cut"
NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
NO_TIMING = 2  # CU_EVENT_DISABLE_TIMING


class CudaDevice:
    """One GPU, in this process's context of it (the one that other libraries use too); free it with `close`.

    extra: the extra of this package whose engine wants the device, for the error that names it.

    Raises:
        EngineError: E60 if the libraries are not installed or have no kernel for this GPU and its driver; E61 if there
            is no driver or no GPU.
    """

    def __init__(self, index: int = 0, *, extra: str = "rtx") -> None:
        self._driver: Any = load_library("cuda.bindings.driver", extra=extra)
        self._nvrtc: Any = load_library("cuda.bindings.nvrtc", extra=extra)
        self._current = threading.local()
        self._buffers: set[int] = set()
        self._pinned: set[int] = set()
        try:
            (version,) = self._check("cuDriverGetVersion", self._driver.cuDriverGetVersion())
            self._check("cuInit", self._driver.cuInit(0))
        except RuntimeError as error:  # its loader's own, when there is no driver to load
            raise self._failed(f"no NVIDIA driver: {error}") from error
        (self._device,) = self._check("cuDeviceGet", self._driver.cuDeviceGet(index))
        (self._context,) = self._call("cuDevicePrimaryCtxRetain", self._device, bound=False)
        self.facts = self._facts(index, int(version))
        self._module, self._cut = self._compiled()

    def memory_info(self) -> MemoryInfo:
        """Return the memory that is free now and that there is."""
        free, total = self._call("cuMemGetInfo")
        return MemoryInfo(free=int(free), total=int(total))

    def allocate(self, nbytes: int) -> DeviceBuffer:
        """Return new bytes on the device, aligned to 256; raises `DeviceMemoryError` if there are not as many."""
        (address,) = self._call("cuMemAlloc", nbytes)
        self._buffers.add(int(address))
        return DeviceBuffer(address=int(address), nbytes=nbytes)

    def free(self, buffer: DeviceBuffer) -> None:
        """Give the bytes back; the caller has synchronised what used them."""
        self._buffers.remove(buffer.address)
        self._call("cuMemFree", buffer.address)

    def allocate_pinned(self, nbytes: int) -> PinnedBuffer:
        """Return new page-locked bytes of the host; raises `DeviceMemoryError` if there are not as many."""
        (address,) = self._call("cuMemHostAlloc", nbytes, 0)
        self._pinned.add(int(address))
        array = np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(int(address)))
        return PinnedBuffer(address=int(address), nbytes=nbytes, array=array)

    def free_pinned(self, buffer: PinnedBuffer) -> None:
        """Give the page-locked bytes back."""
        self._pinned.remove(buffer.address)
        self._call("cuMemFreeHost", buffer.address)

    def copy_to_device_async(
        self, source: PinnedBuffer, target: DeviceBuffer, nbytes: int, *, stream: int, at: int = 0
    ) -> None:
        """Enqueue a copy of the first bytes of `source` to `target`, from byte `at` of the target on."""
        self._call("cuMemcpyHtoDAsync", target.address + at, source.address, nbytes, stream)

    def copy_to_host_async(
        self, source: DeviceBuffer, target: PinnedBuffer, nbytes: int, *, stream: int, at: int = 0
    ) -> None:
        """Enqueue a copy of the first bytes of `source` to `target`, from byte `at` of the target on."""
        self._call("cuMemcpyDtoHAsync", target.address + at, source.address, nbytes, stream)

    def cut_async(self, orders: DeviceBuffer, cubes: DeviceBuffer, *, count: int, shape: Triple, stream: int) -> None:
        """Enqueue that `count` orders (`cutting.ORDER`) are carried out; `cubes` gets `(count, *shape) float32`."""
        depth, height, width = shape
        grid = (-(-width // BLOCK[0]), -(-height // BLOCK[1]), depth * count)
        values = (orders.address, cubes.address, depth, height, width)
        types = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int)
        self._call("cuLaunchKernel", self._cut, *grid, *BLOCK, 0, stream, (values, types), 0)

    def create_stream(self) -> int:
        """Return a new stream that does not wait for the default one."""
        return int(self._call("cuStreamCreate", NON_BLOCKING)[0])

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream."""
        self._call("cuStreamDestroy", stream)

    def synchronise(self, stream: int) -> None:
        """Wait until all that is enqueued on the stream is done."""
        self._call("cuStreamSynchronize", stream)

    def create_event(self) -> int:
        """Return a new event."""
        return int(self._call("cuEventCreate", NO_TIMING)[0])

    def destroy_event(self, event: int) -> None:
        """Destroy an event."""
        self._call("cuEventDestroy", event)

    def record_event(self, event: int, stream: int) -> None:
        """Enqueue that the event happens."""
        self._call("cuEventRecord", event, stream)

    def wait_event(self, stream: int, event: int) -> None:
        """Enqueue that the stream goes on only when the event has happened."""
        self._call("cuStreamWaitEvent", stream, event, 0)

    def synchronise_event(self, event: int) -> None:
        """Wait, on the host, until the event has happened."""
        self._call("cuEventSynchronize", event)

    def begin_capture(self, stream: int) -> None:
        """Record what is enqueued on the stream from now on, instead of doing it; other threads go on as ever."""
        mode = self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call("cuStreamBeginCapture", stream, mode)

    def end_capture(self, stream: int) -> int:
        """Return what was recorded as a graph that can be replayed."""
        (recorded,) = self._call("cuStreamEndCapture", stream)
        try:
            return int(self._call("cuGraphInstantiate", recorded, 0)[0])
        finally:
            self._call("cuGraphDestroy", recorded)

    def replay(self, graph: int, stream: int) -> None:
        """Enqueue a recorded graph."""
        self._call("cuGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        """Destroy a recorded graph."""
        self._call("cuGraphExecDestroy", graph)

    def close(self) -> None:
        """Free whatever is left and let go of the device."""
        for address in list(self._buffers):
            self._call("cuMemFree", address)
        for address in list(self._pinned):
            self._call("cuMemFreeHost", address)
        self._buffers.clear()
        self._pinned.clear()
        self._call("cuModuleUnload", self._module)
        self._call("cuDevicePrimaryCtxRelease", self._device, bound=False)

    def _facts(self, index: int, driver: int) -> DeviceFacts:
        (name,) = self._call("cuDeviceGetName", 256, self._device, bound=False)
        numbers = []
        for axis in ("MAJOR", "MINOR"):
            attribute = getattr(self._driver.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_{axis}")
            numbers.append(int(self._call("cuDeviceGetAttribute", attribute, self._device, bound=False)[0]))
        text = bytes(name).split(b"\0")[0].decode("ascii", "replace")
        return DeviceFacts(index=index, name=text, compute_capability=(numbers[0], numbers[1]), driver=driver)

    def _compiled(self) -> tuple[Any, Any]:
        major, minor = self.facts.compute_capability
        kernel = compiled_kernel(self._nvrtc, f"sm_{major}{minor}")
        try:
            (module,) = self._call("cuModuleLoadData", kernel)
        except EngineError as error:
            problem = f"{error.problem}: the driver does not load what CUDA's NVRTC compiled"
            raise EngineError(60, "GPU", problem, "update the driver, or use --engine openvino") from error
        (cut,) = self._call("cuModuleGetFunction", module, KERNEL.encode())
        return module, cut

    def _call(self, function: str, *arguments: Any, bound: bool = True) -> tuple[Any, ...]:
        """Call the driver, in this thread's view of the context where one is needed, and return what it returns."""
        if bound and not getattr(self._current, "set", False):
            self._check("cuCtxSetCurrent", self._driver.cuCtxSetCurrent(self._context))
            self._current.set = True
        return self._check(function, getattr(self._driver, function)(*arguments))

    def _check(self, function: str, result: tuple[Any, ...]) -> tuple[Any, ...]:
        status, *values = result
        if int(status) == 0:
            return tuple(values)
        name = getattr(status, "name", str(status))
        if name == "CUDA_ERROR_OUT_OF_MEMORY":
            raise DeviceMemoryError(f"{function}: {name}")
        raise self._failed(f"{function}: {name}")

    def _failed(self, problem: str) -> EngineError:
        return EngineError(61, "GPU", problem, "see what `picker-runtime doctor` says of it, or use --engine openvino")


def compiled_kernel(nvrtc: Any, architecture: str) -> bytes:
    """Return the kernel as machine code for an architecture such as `sm_90`; needs no GPU.

    Raises:
        EngineError: E60 if the compiler's library is missing or, with its own words, if it refuses the kernel.
    """
    source = files(__package__).joinpath("cut.cu").read_bytes()
    try:
        _, program = nvrtc.nvrtcCreateProgram(source, b"cut.cu", 0, [], [])
    except RuntimeError as error:  # its loader's own
        problem = f"CUDA's runtime compiler cannot be loaded: {error}"
        raise EngineError(60, "GPU", problem, "pip install nvidia-cuda-nvrtc") from error
    options = [f"--gpu-architecture={architecture}".encode(), b"--std=c++17"]
    (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    if int(status):
        log = b" " * nvrtc.nvrtcGetProgramLogSize(program)[1]
        nvrtc.nvrtcGetProgramLog(program, log)
        text = log.strip(b" \0\n").decode(errors="replace")
        fix = "for a newer GPU update CUDA's NVRTC, with an older one use --engine openvino"
        raise EngineError(60, "GPU", f"no kernel for {architecture}: {text or status}", fix)
    code: bytes = b" " * nvrtc.nvrtcGetCUBINSize(program)[1]
    nvrtc.nvrtcGetCUBIN(program, code)
    nvrtc.nvrtcDestroyProgram(program)
    return code

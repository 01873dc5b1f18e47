"""Asks NVIDIA's driver which GPUs there are; run as a program of its own, so that a broken driver takes no other along.

Needs the standard library alone and prints one JSON object: `cuda` and `gpus`, or `problem`.
"""

import ctypes
import json
import sys
from typing import Any

LIBRARY = "libcuda.so.1"
MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
NAME_BYTES = 256


class DriverError(Exception):
    """A call of the driver failed, with its error number."""

    def __init__(self, call: str, number: int) -> None:
        super().__init__(f"{call} gives error {number}")
        self.number = number


def query(cuda: Any) -> dict[str, Any]:
    """Return the CUDA version that a driver's library speaks and its GPUs, or the problem."""
    try:
        _call(cuda, "cuInit", 0)
        gpus = [_gpu(cuda, index) for index in range(_integer(cuda, "cuDeviceGetCount"))]
        return {"cuda": _integer(cuda, "cuDriverGetVersion"), "gpus": gpus}
    except DriverError as error:
        return {"problem": "the driver finds no GPU" if error.number == NO_DEVICE else f"the driver fails: {error}"}


def _gpu(cuda: Any, index: int) -> dict[str, Any]:
    device, nbytes, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(NAME_BYTES)
    _call(cuda, "cuDeviceGet", ctypes.byref(device), index)
    _call(cuda, "cuDeviceGetName", name, NAME_BYTES, device)
    _call(cuda, "cuDeviceTotalMem_v2", ctypes.byref(nbytes), device)
    capability = [_integer(cuda, "cuDeviceGetAttribute", attribute, device) for attribute in (MAJOR, MINOR)]
    return {"name": name.value.decode(errors="replace"), "compute_capability": capability, "memory": nbytes.value}


def _integer(cuda: Any, call: str, *arguments: Any) -> int:
    value = ctypes.c_int()
    _call(cuda, call, ctypes.byref(value), *arguments)
    return value.value


def _call(cuda: Any, call: str, *arguments: Any) -> None:
    number = getattr(cuda, call)(*arguments)
    if number:
        raise DriverError(call, number)


def main() -> None:
    """Query the installed driver and write the answer."""
    try:
        answer = query(ctypes.CDLL(LIBRARY))
    except OSError as error:
        answer = {"problem": f"the driver's library cannot be loaded ({error})"}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()

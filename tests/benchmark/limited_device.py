"""A device with an allowance: it has no more memory than that to give, whatever another device has."""

import threading
from typing import Any

from picker_runtime.engines.cutting import CuttingDevice
from picker_runtime.engines.device import DeviceBuffer, DeviceMemoryError, MemoryInfo


class LimitedDevice:
    """Another device of which at most `allowance` bytes are used; None for no limit. most: bytes ever in use."""

    def __init__(self, device: CuttingDevice, allowance: float | None) -> None:
        self._device, self._allowance = device, allowance
        self._used, self._one = 0, threading.Lock()
        self.most = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def memory_info(self) -> MemoryInfo:
        info = self._device.memory_info()
        if self._allowance is None:
            return info
        left = max(0, int(self._allowance) - self._used)
        return MemoryInfo(free=min(info.free, left), total=min(info.total, int(self._allowance)))

    def allocate(self, nbytes: int) -> DeviceBuffer:
        with self._one:
            if self._allowance is not None and self._used + nbytes > self._allowance:
                raise DeviceMemoryError(f"an allowance of {self._allowance:.0f} bytes")
            buffer = self._device.allocate(nbytes)
            self._used += nbytes
            self.most = max(self.most, self._used)
            return buffer

    def free(self, buffer: DeviceBuffer) -> None:
        with self._one:
            self._device.free(buffer)
            self._used -= buffer.nbytes

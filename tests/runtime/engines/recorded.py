"""Fakes that record calls, in place of a device and of TensorRT's objects; nothing is computed and no GPU is tested."""

from types import SimpleNamespace
from typing import Any

from picker_runtime.engines.device import DeviceBuffer, DeviceFacts

FACTS = DeviceFacts(index=0, name="A GPU", compute_capability=(8, 6), driver=13000)


class Recorder:
    """Notes every call by name and arguments; `answers` are returned, by name, instead of None."""

    def __init__(self, calls: list[tuple[Any, ...]], **answers: Any) -> None:
        self._calls, self._answers = calls, answers

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*arguments: Any) -> Any:
            self._calls.append((name, *arguments))
            answer = self._answers.get(name)
            return answer(*arguments) if callable(answer) else answer

        return call


class RecordedDevice(Recorder):
    """A device that does nothing: streams and events are numbers, counted up."""

    facts = FACTS

    def __init__(self, calls: list[tuple[Any, ...]]) -> None:
        numbers = iter(range(100, 1000))
        super().__init__(calls, create_stream=lambda: next(numbers), create_event=lambda: next(numbers))


def buffers_for(tensors: dict[str, Any], *, spare: int = 0) -> dict[str, DeviceBuffer]:
    """Return a buffer for every tensor, at addresses 1000, 2000, ..."""
    return {
        name: DeviceBuffer(address=1000 * (i + 1), nbytes=spec.nbytes + spare)
        for i, (name, spec) in enumerate(tensors.items())
    }


def names(calls: list[tuple[Any, ...]]) -> list[str]:
    return [call[0] for call in calls]


def plain(**values: Any) -> Any:
    return SimpleNamespace(**values)

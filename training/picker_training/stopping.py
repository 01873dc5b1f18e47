"""Stopping: a signal asks a run to end, and it ends between two steps, when its state is whole."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class HeldSignals:
    """SIGINT and SIGTERM held back: `asked` tells that one came; a second one ends the process at once.

    patient: a second one changes nothing.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self._patient = patient
        self._number: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether a signal asks the run to end."""
        return self._number is not None

    @contextmanager
    def released(self) -> Iterator[None]:
        """Let signals through for a while, also the one that is held back."""
        self.release()
        try:
            yield
        finally:
            self.hold()

    def hold(self) -> None:
        """Hold signals back; outside the main thread none arrive."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}

    def release(self) -> None:
        """Do with signals what was done before, also with the one that came meanwhile."""
        self.restore()
        if self._number is not None:
            number, self._number = self._number, None
            signal.raise_signal(number)

    def restore(self) -> None:
        """Leave signals to those who had them before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._number = number
        if not self._patient:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def held_signals(*, patient: bool = False) -> Iterator[HeldSignals]:
    """Hold SIGINT and SIGTERM back until the block ends well; an error of the block comes first."""
    signals = HeldSignals(patient=patient)
    signals.hold()
    try:
        yield signals
    except BaseException:
        signals.restore()
        raise
    signals.release()

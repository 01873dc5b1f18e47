import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from picker_training.stopping import held_signals


class CameError(Exception):
    """A signal was handled."""


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM], autouse=True)
def number(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """A signal, whose handler raises `CameError` here."""

    def handler(*_arguments: object) -> None:
        raise CameError

    before = signal.signal(request.param, handler)
    yield request.param
    signal.signal(request.param, before)


def test_a_signal_waits_for_the_end_of_the_block(number: signal.Signals) -> None:
    reached = False
    with pytest.raises(CameError), held_signals() as signals:
        assert not signals.asked
        os.kill(os.getpid(), number)
        assert signals.asked
        reached = True
    assert reached
    with pytest.raises(CameError):
        os.kill(os.getpid(), number)  # handled as before


def test_a_signal_passes_while_they_are_released(number: signal.Signals) -> None:
    with pytest.raises(CameError), held_signals() as signals:
        os.kill(os.getpid(), number)
        with signals.released():
            raise AssertionError("the signal that came before is handled first")


def test_they_are_held_again_afterwards(number: signal.Signals) -> None:
    reached = False
    with pytest.raises(CameError), held_signals() as signals:
        with signals.released(), pytest.raises(CameError):
            os.kill(os.getpid(), number)
        assert not signals.asked
        os.kill(os.getpid(), number)
        reached = signals.asked
    assert reached


def test_an_error_comes_before_a_signal(number: signal.Signals) -> None:
    with pytest.raises(ZeroDivisionError), held_signals():
        os.kill(os.getpid(), number)
        raise ZeroDivisionError
    with pytest.raises(CameError):
        os.kill(os.getpid(), number)


def test_a_second_signal_may_change_nothing(number: signal.Signals) -> None:
    with pytest.raises(CameError), held_signals(patient=True) as signals:
        for _ in range(2):
            os.kill(os.getpid(), number)
        assert signals.asked


def test_a_second_signal_ends_the_process_at_once(number: signal.Signals) -> None:
    twice = "from picker_training.stopping import held_signals\nimport os\nwith held_signals():\n" + (
        f"  os.kill(os.getpid(), {int(number)})\n" * 2 + "  print('still here')\n"
    )
    ended = subprocess.run([sys.executable, "-c", twice], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (-number, "")

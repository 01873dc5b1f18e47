import errno
import io
import os
import pty

import pytest

from picker_runtime.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(stream: io.StringIO, *, shown: bool, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar(stream, "a[red]\n.mrc", shown=shown) as progress:
        progress(1, 4)
        progress(4, 4)
    return stream.getvalue()


def test_on_a_terminal_there_is_a_bar_with_the_name_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(Terminal(), shown=True, monkeypatch=monkeypatch)
    assert "a[red]\\n.mrc" in text
    assert "4/4" in text


def test_a_terminal_that_hangs_up_costs_the_bar_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()
    with io.FileIO(theirs, "w") as raw:
        terminal = io.TextIOWrapper(raw, write_through=True)  # type: ignore[arg-type]
        with progress_bar(terminal, "a", shown=True) as progress:
            os.close(ours)
            progress(1, 4)
        with pytest.raises(OSError, match="Input/output error"):
            terminal.write("it is gone")


def test_a_terminal_that_takes_nothing_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise OSError(errno.EIO, "Input/output error")

    assert drawn(Gone(), shown=True, monkeypatch=monkeypatch) == ""


def test_without_a_stream_there_is_nothing() -> None:
    with progress_bar(None, "a", shown=True) as progress:
        progress(1, 4)


def test_elsewhere_or_unasked_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(io.StringIO(), shown=True, monkeypatch=monkeypatch) == ""
    assert drawn(Terminal(), shown=False, monkeypatch=monkeypatch) == ""

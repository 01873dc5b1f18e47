import io

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


def test_without_a_stream_there_is_nothing() -> None:
    with progress_bar(None, "a", shown=True) as progress:
        progress(1, 4)


def test_elsewhere_or_unasked_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(io.StringIO(), shown=True, monkeypatch=monkeypatch) == ""
    assert drawn(Terminal(), shown=False, monkeypatch=monkeypatch) == ""

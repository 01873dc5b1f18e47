import signal
import sys

import pytest
import typer

from picker_runtime.console import complain, main, run, show
from picker_runtime.errors import InputError


def command(error: BaseException | None = None, status: int | None = None) -> typer.Typer:
    """Return a program that raises the error, or ends with the status."""
    app = typer.Typer()

    @app.command()
    def only(number: int = 0) -> int | None:
        if error:
            raise error
        return status

    return app


@pytest.mark.parametrize(("status", "expected"), [(None, 0), (0, 0), (3, 3)])
def test_a_command_s_result_is_the_exit_status(status: int | None, expected: int) -> None:
    assert run(command(status=status), "program", []) == expected


def test_an_error_of_ours_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command(InputError(21, "a\nb.mrc", "short", "copy it")), "program", []) == 3
    assert capsys.readouterr().err == "picker: E21 a\\nb.mrc: short. Fix: copy it.\n"


@pytest.mark.parametrize("arguments", [["--no-such"], ["--number", "many"], ["too", "much"]])
def test_a_usage_error_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command(), "program", arguments) == 2
    text = capsys.readouterr().err
    assert text.startswith("picker: E80 program: ")
    assert text.endswith(". Fix: see program --help.\n")
    assert text.count("\n") == 1


@pytest.mark.parametrize(("program", "extra"), [("picker-training", "training"), ("picker-export", "export")])
def test_a_package_that_an_extra_brings_is_no_bug(program: str, extra: str, capsys: pytest.CaptureFixture[str]) -> None:
    error = ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")
    assert run(command(error), program, []) == 2
    assert capsys.readouterr().err == (
        f"picker: E82 torch: not usable here (No module named 'torch.nn'). Fix: pip install 'picker-cryoet[{extra}]'.\n"
    )


@pytest.mark.parametrize(("program", "name"), [("picker-runtime", "numpy"), ("picker-export", "picker_runtime.gone")])
def test_a_module_that_no_extra_brings_is_a_bug(program: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command(ModuleNotFoundError("gone", name=name)), program, []) == 1
    assert "a bug in picker" in capsys.readouterr().err


def test_what_a_shell_has_let_ignore_interrupts_goes_on_doing_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    kept = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit):
            main(command(), "program")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_IGN, kept)
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, kept)


def test_without_streams_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    complain("something")
    show("something")


def test_a_bug_is_one_line_that_says_how_to_see_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = command(ZeroDivisionError("by 0\nindeed"))
    assert run(app, "program", []) == 1
    text = capsys.readouterr().err
    assert text.startswith(
        "picker: a bug in picker, with program: ZeroDivisionError: by 0\\nindeed. Fix: set PICKER_DEBUG=1"
    )
    assert text.count("\n") == 1
    monkeypatch.setenv("PICKER_DEBUG", "1")
    run(app, "program", [])
    assert "Traceback" in capsys.readouterr().err

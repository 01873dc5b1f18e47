import pytest
import typer

from picker_runtime.console import run
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

"""The frame of every command line of the project: one line per error, exit statuses, signals."""

import os
import signal
import sys
import traceback
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

import typer

from picker_runtime.errors import PickerError, UsageError, one_line
from picker_runtime.extras import missing_package


class Stopped(BaseException):
    """A signal asked the process to end; all that is under way tidies up as this passes."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(app: typer.Typer, program: str) -> NoReturn:
    """Run the process's command line and end the process with its exit status."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell has it for what runs in the background
            signal.signal(number, _stop)
    sys.exit(run(app, program, sys.argv[1:]))


def run(app: typer.Typer, program: str, arguments: list[str]) -> int:
    """Run one command line, whose commands return their exit status or nothing; return the exit status."""
    try:
        status: int | None = app(arguments, prog_name=program, standalone_mode=False)
        return status or 0
    except Stopped as stop:
        complain(f"stopped by {signal.Signals(stop.number).name}. Finished files stay, none is half-written.")
        return 128 + stop.number
    except PickerError as error:
        report(error, subject=program)
        return error.exit_status
    except Exception as error:
        usage = _usage_error(error, program) or missing_package(error, program)
        report(usage or error, subject=program)
        return usage.exit_status if usage else 1


def report(error: Exception, *, subject: str) -> None:
    """Say on one line of stderr what went wrong; `subject` is what an error that is not ours was about."""
    if isinstance(error, PickerError):
        complain(str(error))
    else:
        problem = f"{type(error).__name__}: {error}".rstrip(". ")
        complain(
            f"a bug in picker, with {subject}: {problem}. Fix: set PICKER_DEBUG=1, run again, report the traceback."
        )
    if os.environ.get("PICKER_DEBUG") == "1":
        traceback.print_exception(error, file=sys.stderr)


def complain(text: str) -> None:
    """Write one line to stderr, where there is one that takes it."""
    with suppress(OSError, AttributeError):
        sys.stderr.write(f"picker: {one_line(text)}\n")
        sys.stderr.flush()


def show(text: str) -> None:
    """Write lines to stdout; where it takes no more, say so once and go on: what was asked for is in files."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except AttributeError:
        return  # it is closed
    except OSError as error:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        complain(f"output is shown no more: {(error.strerror or str(error)).lower()}")


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
    raise Stopped(number)


def _usage_error(error: Exception, program: str) -> UsageError | None:
    """Return the command line library's own complaint as one of ours; None for any other error."""
    if not hasattr(error, "format_message"):
        return None
    context: Any = getattr(error, "ctx", None)
    command = context.command_path if context else program
    return UsageError(80, command, error.format_message().rstrip(". "), f"see {command} --help")

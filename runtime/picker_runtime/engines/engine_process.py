"""The process that a `child.ChildEngine` runs its engine in: started, asked, and ended without a trace."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from picker_runtime import errors
from picker_runtime.engines.base import TileTooLarge
from picker_runtime.engines.messages import Channel, ChannelClosed, ChannelSilent, Message
from picker_runtime.errors import PickerError

PROGRAM = "picker_runtime.engines.child_main"
FAREWELL_SECONDS = 10.0
LOG_BYTES = 4096


class ProcessLost(Exception):  # noqa: N818  what happened; users see E63
    """The engine's process is dead, hung or no longer to be trusted."""


class EngineProcess:
    """The child process with the channel to it; its output goes to memory, for the word of what killed it."""

    def __init__(self, silence: float, say: Callable[[str], None], warnings: list[str]) -> None:
        self._silence, self._say, self._warnings = silence, say, warnings
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        self._log = os.memfd_create("picker-log")
        paths = [path for path in sys.path if path]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", PROGRAM, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # a Ctrl-C is for the command, which ends the process itself
        )
        theirs.close()

    def send(self, kind: str, **fields: Any) -> None:
        """Send a message; raises `ProcessLost` if the process does not take it."""
        try:
            self.channel.send(kind, **fields)
        except (ChannelClosed, ChannelSilent) as error:
            raise ProcessLost(self._last_words()) from error

    def answer(self, kind: str, *, patience: float | None = None) -> Message:
        """Return the next answer, which is of this kind, or raise the error that came instead.

        patience: seconds of silence that are borne, instead of the usual.

        Raises:
            ProcessLost: if the process ended, was silent for too long, or its device failed.
            PickerError, TileTooLarge: as the engine raised them.
        """
        patience = patience or self._silence
        while True:
            try:
                message = self.channel.receive(patience=patience)
            except ChannelSilent as error:
                raise ProcessLost(f"did nothing for {patience:g} s") from error
            except ChannelClosed as error:
                raise ProcessLost(self._last_words()) from error
            if message.kind == kind:
                return message
            if message.kind == "say" and message.fields["line"]:
                self._say(message.fields["line"])
            elif message.kind != "say":
                self._warnings += message.fields.get("warnings", [])
                raise _raised(message)

    def end(self, *, gently: bool) -> None:
        """End the process, with time to tidy up or at once, and leave nothing of it."""
        if gently:
            try:
                self.channel.send("close")
                self._process.wait(FAREWELL_SECONDS)
            except (ChannelClosed, ChannelSilent, subprocess.TimeoutExpired):
                pass
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # a driver that hangs keeps what it serves from dying
            self._process.wait(FAREWELL_SECONDS)
        self.channel.close()
        os.close(self._log)

    def _last_words(self) -> str:
        try:
            status = self._process.wait(FAREWELL_SECONDS)
        except subprocess.TimeoutExpired:
            return "closed its connection"
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
        size = os.fstat(self._log).st_size
        text = os.pread(self._log, LOG_BYTES, max(0, size - LOG_BYTES)).decode(errors="replace").strip()
        return f"{how}: {text.splitlines()[-1]}" if text else how


def _raised(message: Message) -> BaseException:
    """Return the error that a message stands for."""
    fields = message.fields
    if message.kind == "too large":
        depth, height, width = fields["shape"]
        return TileTooLarge((depth, height, width))
    if message.kind == "error" and (fields["error"], fields["code"]) != ("EngineError", 61):
        made: PickerError = getattr(errors, fields["error"])(
            *(fields[n] for n in ("code", "subject", "problem", "fix"))
        )
        return made
    return ProcessLost(f"failed: {fields.get('problem', message.kind)}")

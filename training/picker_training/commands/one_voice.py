"""One voice: of the processes that `torchrun` starts, the first prints, and the first to fail says why."""

import contextlib
import functools
import os
from collections.abc import Callable
from typing import Any

import typer


def one_voice(command: Callable[..., int]) -> Callable[..., int]:
    """Return the command, which has a parameter `device`, run in every process of a run but heard once."""

    @functools.wraps(command)
    def heard(*arguments: Any, **options: Any) -> int:
        if os.environ.get("WORLD_SIZE", "1") == "1":
            return command(*arguments, **options)
        from picker_training.parallel import Hushed, joined

        with contextlib.ExitStack() as stack:
            try:
                with joined(options["device"]) as ranks:
                    if not ranks.first:
                        silence = stack.enter_context(open(os.devnull, "w"))  # noqa: PTH123
                        stack.enter_context(contextlib.redirect_stdout(silence))
                        stack.enter_context(contextlib.redirect_stderr(silence))
                    return command(*arguments, **options)
            except Hushed as hushed:
                raise typer.Exit(hushed.status) from None

    return heard

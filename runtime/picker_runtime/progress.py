"""The progress bar on a terminal; nothing where there is no terminal to draw on."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from picker_runtime.errors import one_line

if TYPE_CHECKING:
    from picker_runtime.worker import Progress


@contextmanager
def progress_bar(stream: TextIO | None, label: str, *, shown: bool) -> Iterator["Progress"]:
    """Give the function that moves a bar, which vanishes at the end; it does nothing where no bar can be shown."""
    if stream is None or not (shown and stream.isatty()):
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    parts = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("tiles"),
        TimeRemainingColumn(),
    )
    bars = Bars(*parts, console=Console(file=stream), transient=True)
    with suppress(OSError):  # a terminal that hung up costs the bar, not the tomogram
        bars.add_task(escape(one_line(label)), total=None)
        bars.start()
    try:
        yield lambda done, total: bars.update(bars.task_ids[0], completed=done, total=total)
    finally:
        with suppress(OSError):
            bars.stop()

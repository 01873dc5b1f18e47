"""Batches: one piece of work for each file; a bad file never stops the others, a full disk or a lost engine does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from picker_runtime.errors import InputError, PickerError, UsageError, worst_status

LOST = 63
"""Code of the error that a process of the engine was lost twice: the next file gets a new one."""


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """How a batch ended: how many files were done, were refused, or were not tried because the batch had to stop."""

    done: int
    refused: int
    untried: int
    exit_status: int

    @property
    def total(self) -> int:
        """Number of files in the batch."""
        return self.done + self.refused + self.untried

    def with_refused(self, errors: Sequence[PickerError]) -> "BatchResult":
        """Return the result with what was refused before the batch began."""
        status = worst_status([s for s in (self.exit_status, *(e.exit_status for e in errors)) if s])
        return replace(self, refused=self.refused + len(errors), exit_status=status)


def run_batch(
    paths: Sequence[Path], work: Callable[[Path], None], refuse: Callable[[Path, Exception], None]
) -> BatchResult:
    """Do the work for each file in turn and hand each error to `refuse`.

    An input error, a lost process of the engine, or a bug of ours costs its own file; any other error of the model,
    the engine or the output ends the batch.

    Raises:
        UsageError: as the work raises it: the command as a whole makes no sense.
    """
    done = 0
    statuses: list[int] = []
    for path in paths:
        try:
            work(path)
            done += 1
        except UsageError:
            raise
        except Exception as error:
            refuse(path, error)
            statuses.append(error.exit_status if isinstance(error, PickerError) else 1)
            if isinstance(error, PickerError) and not isinstance(error, InputError) and error.code != LOST:
                break
    untried = len(paths) - done - len(statuses)
    return BatchResult(done=done, refused=len(statuses), untried=untried, exit_status=worst_status(statuses))

from pathlib import Path

import pytest

from picker_runtime.batch import BatchResult, run_batch
from picker_runtime.errors import EngineError, InputError, ModelError, OutputError, PickerError, UsageError

PATHS = [Path(name) for name in "abcd"]


def result_of(errors: dict[str, Exception]) -> tuple[BatchResult, list[str]]:
    refused: list[str] = []

    def work(path: Path) -> None:
        if path.name in errors:
            raise errors[path.name]

    return run_batch(PATHS, work, lambda path, error: refused.append(path.name)), refused


def error(kind: type[PickerError], code: int) -> PickerError:
    return kind(code, "it", "is wrong", "mend it")


def test_input_errors_and_bugs_cost_their_own_file() -> None:
    result, refused = result_of({"a": error(InputError, 21), "c": ZeroDivisionError()})
    assert result == BatchResult(done=2, refused=2, untried=0, exit_status=1)
    assert refused == ["a", "c"]


@pytest.mark.parametrize(("kind", "code", "status"), [(OutputError, 71, 6), (EngineError, 61, 5), (ModelError, 52, 4)])
def test_what_will_not_get_better_ends_the_batch(kind: type[PickerError], code: int, status: int) -> None:
    result, refused = result_of({"a": error(InputError, 21), "c": error(kind, code)})
    assert result == BatchResult(done=1, refused=2, untried=1, exit_status=status)
    assert refused == ["a", "c"]


def test_all_done_is_status_0() -> None:
    assert result_of({})[0] == BatchResult(done=4, refused=0, untried=0, exit_status=0)


@pytest.mark.parametrize("wrong", [error(UsageError, 80)])
def test_what_is_about_the_whole_command_passes_through(wrong: Exception) -> None:
    with pytest.raises(type(wrong)):
        result_of({"b": wrong})

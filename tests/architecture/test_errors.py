"""Every error a user can meet is in the one table, in the documentation, and in its class's range."""

import ast
from pathlib import Path

import pytest

import picker_runtime.errors as errors

ROOT = Path(__file__).parents[2]
RANGES = {
    "UsageError": range(80, 90),
    "InputError": range(10, 50),
    "ModelError": range(50, 60),
    "EngineError": range(60, 70),
    "OutputError": range(70, 80),
}
SOURCES = sorted(path for part in ("runtime", "training", "export") for path in (ROOT / part).rglob("*.py"))


def raised() -> list[tuple[str, int, str]]:
    """Return the class, the code and the place of every error that is made anywhere in the sources."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
                continue
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in RANGES:
                found.append((name, node.args[0].value, f"{path.relative_to(ROOT)}:{node.lineno}"))
    return found


def test_sources_make_errors() -> None:
    assert len(raised()) > 50


def test_every_code_is_in_the_table_and_in_its_range() -> None:
    strange = [one for one in raised() if one[1] not in errors.CODES or one[1] not in RANGES[one[0]]]
    assert strange == []


def test_every_code_is_documented() -> None:
    page = (ROOT / "docs/errors.md").read_text()
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| E")]
    assert rows == [f"E{code}" for code in sorted(errors.CODES)]


@pytest.mark.parametrize("name", RANGES)
def test_the_documented_status_is_the_one_of_the_class(name: str) -> None:
    page = (ROOT / "docs/errors.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in page.splitlines() if line.startswith("| E")]
    statuses = {int(status) for code, _, status in rows if int(code[1:]) in RANGES[name]}
    assert statuses == {getattr(errors, name).exit_status}

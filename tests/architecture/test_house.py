"""The house rules that a machine can check and the linters do not."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for part in ("runtime", "training", "export") for path in (ROOT / part).rglob("*.py"))
FILE_LINES, FUNCTION_LINES = 250, 40
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_are_sources() -> None:
    assert len(SOURCES) > 20


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= FILE_LINES
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {f.name: (f.end_lineno or 0) - f.lineno + 1 for f in functions}
    assert {f: lines for f, lines in long.items() if lines > FUNCTION_LINES} == {}


def test_nothing_is_a_drawer() -> None:
    assert [name(path) for path in SOURCES if DRAWERS & set(path.stem.split("_"))] == []


def test_the_runtime_never_loads_a_pickle_nor_evaluates_text() -> None:
    forbidden = {"pickle", "dill", "joblib", "marshal", "shelve"}
    found = []
    for path in (ROOT / "runtime").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if forbidden & {module.split(".")[0] for module in modules} or called in {"eval", "exec"}:
                found.append(f"{name(path)}:{node.lineno}")
    assert found == []

"""STAR text: quoting values, and reading the loop of one table."""

import re
from pathlib import Path
from typing import NamedTuple

from picker_runtime.errors import InputError
from picker_runtime.formats.base import bad_line, read_lines

TOKEN = re.compile(r"""\s*(?:"(.*?)"(?=\s|$)|'(.*?)'(?=\s|$)|(\#.*)|(["'].*)|(\S+))""")
PLAIN = re.compile(r"[!-~]+")
RESERVED = re.compile(r"""[?.]$|[_\#$'"\[\];]|(?:data_|save_|loop_|stop_|global_)""", re.IGNORECASE)


class Row(NamedTuple):
    """One row of a table and its 1-based line."""

    line: int
    values: list[str]


class Table(NamedTuple):
    """The loop of one data block: its labels and rows."""

    name: str
    labels: list[str]
    rows: list[Row]


def quote(value: str) -> str:
    """Return a value as one STAR token, quoted if it must be.

    Raises:
        InputError: E47 if no quoting can hold it.
    """
    if PLAIN.fullmatch(value) and not RESERVED.match(value):
        return value
    for mark in "\"'":
        if value.replace(" ", "").isprintable() and not re.search(rf"{mark}(\s|$)", value):
            return f"{mark}{value}{mark}"
    raise InputError(47, value, "a STAR file cannot hold this name", "rename the tomogram, or write no STAR files")


def render(name: str, labels: list[str], rows: list[str], *, comment: str = "") -> str:
    """Return the text of a file with one table; the rows are whole lines without their ends."""
    head = [f"# {comment}", ""] if comment else []
    numbered = [f"_{label} #{number}" for number, label in enumerate(labels, start=1)]
    return "\n".join([*head, f"data_{name}", "", "loop_", *numbered, *rows, "", ""])


def has_rows(path: Path) -> bool:
    """Tell whether a file of one table, as `render` writes it, has a row; one that cannot be read has none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            return any(line.strip() and not line.startswith(("#", "data_", "loop_", "_")) for line in lines)
    except OSError:
        return False


def read_tables(path: Path) -> list[Table]:
    """Return every loop of a file; single values outside loops are passed over.

    Raises:
        InputError: E44, naming the line, for an open quote or a row that does not fit its labels.
    """
    tables: list[Table] = []
    block, in_loop = "", False
    for line, text in enumerate(read_lines(path), start=1):
        tokens = _tokens(path, line, text)
        if not tokens:
            continue
        word = text.split()[0]  # with its quotes, so that a quoted value is never taken for a keyword
        if word.lower().startswith("data_"):
            block, in_loop = word[5:], False
        elif word.lower() == "loop_":
            tables.append(Table(block, [], []))
            in_loop = True
        elif word.startswith("_"):
            in_loop = in_loop and not tables[-1].rows
            if in_loop:
                tables[-1].labels.append(word[1:])
        elif in_loop:
            _append(path, tables[-1], line, tokens)
    return tables


def find_table(path: Path, labels: list[str]) -> Table:
    """Return the one loop that has all these labels.

    Raises:
        InputError: E44 if there is none, saying which label is missing, or more than one.
    """
    tables = read_tables(path)
    fitting = [table for table in tables if set(labels) <= set(table.labels)]
    if len(fitting) == 1:
        return fitting[0]
    found = {label for table in tables for label in table.labels}
    missing = ", ".join(label for label in labels if label not in found)
    problem = f"{len(fitting)} tables with {', '.join(labels)}" + (f"; {missing} is missing" if missing else "")
    raise InputError(44, path.name, problem, "give a STAR file with one table of RELION 5 particles")


def _append(path: Path, table: Table, line: int, tokens: list[str]) -> None:
    if len(tokens) != len(table.labels):
        raise bad_line(path, line, f"{len(tokens)} values, expected {len(table.labels)}")
    table.rows.append(Row(line, tokens))


def _tokens(path: Path, line: int, text: str) -> list[str]:
    tokens = []
    for double, single, comment, unclosed, plain in TOKEN.findall(text.rstrip()):
        if comment:
            break
        if unclosed:
            raise bad_line(path, line, "a quote is not closed")
        tokens.append(double or single or plain)
    return tokens

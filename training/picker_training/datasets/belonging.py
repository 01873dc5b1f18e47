"""Picks and tomograms that do not belong together: picks of a tomogram that is not there, a tomogram without picks."""

import difflib
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from picker_training.datasets.findings import Finding
from picker_training.datasets.picks import Annotations, ListedPick, lines_of

NAMED = 3
"""So many tomograms of one finding are named."""


def strays(annotations: Annotations) -> Iterator[Finding]:
    """Find picks that belong to no tomogram; where a file has others, only those that look like a typing error stop."""
    there = [*annotations.tomograms, *annotations.refused]
    in_use = {pick.file for pick in annotations.picks if pick.tomogram in annotations.tomograms}
    stray = sorted(
        (pick for pick in annotations.picks if pick.tomogram not in there),
        key=lambda pick: (pick.file, pick.tomogram, pick.line),
    )
    for file, of_file in groupby(stray, key=lambda pick: pick.file):
        elsewhere: list[ListedPick] = []
        for name, group in groupby(of_file, key=lambda pick: pick.tomogram):
            picks = list(group)
            if file in in_use and name and not _mistyped(name, annotations):
                elsewhere += picks
            else:
                yield _astray(file, name, picks, there)
        if elsewhere:
            yield _elsewhere(file, elsewhere)


def without_any(annotations: Annotations) -> Iterator[Finding]:
    """Find that there are no picks at all."""
    if not annotations.picks and not annotations.unreadable and annotations.tomograms:
        yield Finding(
            severity="error", file="--picks", line=0, found="no picks in any file", expected="some",
            fix="give files with --picks FILE",
        )  # fmt: skip


def left_out(annotations: Annotations) -> Iterator[Finding]:
    """Find tomograms without picks: each that could not be used anyway, then all others in one finding."""
    named = annotations.named
    for name, error in annotations.refused.items():
        if name not in named and annotations.tomograms:
            yield Finding(
                severity="warning", file=error.subject, line=0, found=error.problem,
                expected="a usable tomogram; no picks belong to it", fix=error.fix,
            )  # fmt: skip
    bare = [name for name in annotations.tomograms if name not in named]
    if bare:
        yield Finding(
            severity="warning", file="--tomograms", line=0, found=f"{_counted(bare)} without picks",
            expected="some, or they are left out", fix="give their picks files too, with --picks FILE, or leave it so",
        )  # fmt: skip


def _mistyped(name: str, annotations: Annotations) -> bool:
    """Tell whether a name is that of a tomogram without picks but for a slip; other numbers are another tomogram's."""
    named = annotations.named
    numbers = _numbers(name)
    bare = [t for t in (*annotations.tomograms, *annotations.refused) if t not in named and _numbers(t) == numbers]
    return bool(_near(name, bare))


def _near(name: str, names: list[str]) -> str:
    """Return the name that is most like another, whatever the case; empty if none is."""
    lower = {other.lower(): other for other in names}
    return next((lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=1)), "")


def _numbers(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"[0-9]+", name)]


def _astray(file: Path, name: str, picks: list[ListedPick], there: list[str]) -> Finding:
    near = _near(name, there)
    lines = lines_of(picks)
    if not name and there:
        fix = f"name the file after its tomogram, as {there[0]}{file.suffix}"
    else:
        fix = "give the folder with its tomogram, --tomograms DIR, or leave these lines out"
        fix += f"; if it is {near} under another name, write that" if near else ""
    return Finding(
        severity="error", file=file.name, line=picks[0].line, expected=f"one of {', '.join(there)}", fix=fix,
        found=f"{lines} of tomogram {name!r}" if name else f"{lines} that name no tomogram",
    )  # fmt: skip


def _elsewhere(file: Path, picks: list[ListedPick]) -> Finding:
    names = list(dict.fromkeys(pick.tomogram for pick in picks))
    return Finding(
        severity="warning", file=file.name, line=min(pick.line for pick in picks),
        found=f"{lines_of(picks)} of {_counted(names)}", expected="tomograms of the folder; these lines are left out",
        fix="give the folder with those tomograms too, --tomograms DIR, or leave it so",
    )  # fmt: skip


def _counted(names: list[str]) -> str:
    """Return how many tomograms these are, and what the first are called."""
    shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    return f"{len(names)} tomogram{'s' * (len(names) > 1)} ({shown})"

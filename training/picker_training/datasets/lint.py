"""Lint: what is wrong, or looks wrong, with picks files and the tomograms they belong to, line by line."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from picker_runtime.card import NAME
from picker_runtime.errors import InputError
from picker_runtime.geometry import Box
from picker_training.datasets.belonging import left_out, strays, without_any
from picker_training.datasets.class_choices import unjudged, unused
from picker_training.datasets.coordinates import misplaced, on_nothing
from picker_training.datasets.density import Density, look_at
from picker_training.datasets.findings import Finding
from picker_training.datasets.picks import Annotations, ListedPick, TomogramFile, lines_of
from picker_training.datasets.scales import rescaled
from picker_training.datasets.sizes import diameters, voxel_sizes
from picker_training.datasets.unlearnt import unlearnt
from picker_training.picks_section import PicksSection

SAME_PLACE_VOXELS = 1.0
OVERLAP = 0.5
"""Two particles nearer than this share of the mean of their diameters overlap; detection keeps one of such two."""


@dataclass(frozen=True, kw_only=True)
class Expectations:
    """What picks are held against.

    classes: the names that may occur; empty for any. diameters: angstrom, by class, where known.
    voxel_size: angstrom, of the model; 0 for that of the first tomogram with picks. polarity: of the model.
    """

    classes: tuple[str, ...] = ()
    diameters: Mapping[str, float]
    voxel_size: float = 0.0
    polarity: str = "dark"


def lint(
    annotations: Annotations,
    section: PicksSection,
    expected: Expectations,
    *,
    look: Callable[[TomogramFile], Density] | None = None,
) -> list[Finding]:
    """Return what is wrong with annotations: errors first, by file and line; last what is left out without harm.

    look: opens a tomogram to compare its density with the picks.

    Raises:
        UsageError: E80 or E81 if the ignore masks do not belong to the tomograms one by one.
    """
    look = look or (lambda file: look_at(file, invert=section.invert))
    findings = [
        *_unreadable(annotations),
        *strays(annotations),
        *without_any(annotations),
        *_classes(annotations, expected),
        *unused(annotations, section),
        *unjudged(annotations, section),
        *voxel_sizes(annotations, section, expected.voxel_size),
        *diameters(annotations, section, expected.diameters),
    ]
    if not any(finding.severity == "error" for finding in findings):  # else masks may seem to be of no tomogram
        findings += unlearnt(annotations, section)
    for name in sorted(annotations.annotated):
        file = annotations.tomograms[name]
        of_one = [pick for pick in annotations.picks if pick.tomogram == name]
        findings += _neighbours(of_one, file, expected.diameters, frozenset(section.ignored))
        findings += _placement(of_one, file, section, expected, look)
    return [*sorted(findings, key=lambda f: (f.severity, f.file, f.line)), *left_out(annotations)]


def _unreadable(annotations: Annotations) -> Iterator[Finding]:
    for path, error in annotations.unreadable.items():
        words = error.problem.split(":", 1)
        line = words[0].removeprefix("line ") if words[0].startswith("line ") else ""
        found = words[1].strip() if line.isdecimal() else error.problem
        yield Finding(
            severity="error", file=path.name, line=int(line) if line.isdecimal() else 0, found=found,
            expected="a picks file of a known format", fix=error.fix,
        )  # fmt: skip
    for name, error in annotations.refused.items():
        if name in annotations.named or not annotations.tomograms:
            yield Finding(
                severity="error", file=error.subject, line=0, found=error.problem, expected="a usable tomogram",
                fix=error.fix,
            )  # fmt: skip


def _classes(annotations: Annotations, expected: Expectations) -> Iterator[Finding]:
    """Find names that are no names of classes, that are not expected, or whose diameter is not known."""
    by_name = sorted(annotations.picks, key=lambda pick: (pick.file, pick.name, pick.line))
    without_size: set[str] = set()
    for (file, name), group in groupby(by_name, key=lambda pick: (pick.file, pick.name)):
        picks = list(group)
        found = f"class {name!r} in {lines_of(picks)}"
        if not NAME.fullmatch(name):
            yield Finding(
                severity="error", file=file.name, line=picks[0].line, found=found,
                expected="lower-case letters, digits, _ . -", fix=f"rename it: --class '{name}=NAME'",
            )  # fmt: skip
        elif expected.classes and name not in expected.classes:
            near = difflib.get_close_matches(name, expected.classes, n=1) or expected.classes[:1]
            yield Finding(
                severity="error", file=file.name, line=picks[0].line, found=found,
                expected=f"one of {', '.join(expected.classes)}",
                fix=f"--class {name}={near[0]} if it is that; else --background {name}, or --ignore {name}",
            )  # fmt: skip
        elif name not in expected.diameters and not any(pick.diameter for pick in picks) and name not in without_size:
            without_size.add(name)
            yield Finding(
                severity="warning", file=file.name, line=picks[0].line, found=f"{found}, of unknown diameter",
                expected="a diameter, to train on it and to find overlaps", fix=f"--diameter {name}=ANGSTROM",
            )  # fmt: skip


def _neighbours(
    picks: list[ListedPick], file: TomogramFile, diameters: Mapping[str, float], ignored: frozenset[str]
) -> Iterator[Finding]:
    """Find lines about the same place, and particles that overlap."""
    sizes = np.array([pick.diameter or diameters.get(pick.name, 0.0) for pick in picks]) / file.voxel_size
    positions = np.array([pick.position for pick in picks])
    reach = max(SAME_PLACE_VOXELS, OVERLAP * float(sizes.max()))
    for a, b in sorted(KDTree(positions).query_pairs(reach)):
        first, second = picks[a], picks[b]
        apart = float(np.linalg.norm(positions[a] - positions[b]))
        found = f"{apart:.1f} voxels from {first.file.name}:{first.line} ({first.name})"
        mean = (sizes[a] + sizes[b]) / 2 if sizes[a] and sizes[b] else 0.0
        if apart <= SAME_PLACE_VOXELS:
            one_class = first.name == second.name
            yield Finding(
                severity="warning" if one_class else "error", file=second.file.name, line=second.line,
                found=f"the same place again: {second.name} {found}", expected="one line a particle",
                fix="delete one of the two lines",
            )  # fmt: skip
        elif apart < OVERLAP * mean and not ignored & {first.name, second.name}:
            yield Finding(
                severity="warning", file=second.file.name, line=second.line, found=f"overlap: {second.name} {found}",
                expected=f"at least {OVERLAP * mean:.1f}, half the mean diameter",
                fix=f"delete one of the two lines, or correct --diameter {second.name}=ANGSTROM",
            )  # fmt: skip


def _placement(
    picks: list[ListedPick],
    file: TomogramFile,
    section: PicksSection,
    expected: Expectations,
    look: Callable[[TomogramFile], Density],
) -> Iterator[Finding]:
    """Find what is wrong with one tomogram, and with its coordinates file by file: contrast, scale, bounds, axes."""
    try:
        density = look(file)
        seen = density.polarity()
    except InputError as error:
        yield Finding(
            severity="error", file=file.path.name, line=0, found=error.problem, expected="a usable tomogram",
            fix=error.fix,
        )  # fmt: skip
        return
    for warning in density.warnings:
        yield Finding(
            severity="warning", file=file.path.name, line=0, found=warning,
            expected="a tomogram of which nothing is odd", fix="as it says, or leave it so",
        )  # fmt: skip
    if seen not in (None, expected.polarity):
        yield Finding(
            severity="warning", file=file.path.name, line=0, found=f"particles look {seen}",
            expected=expected.polarity, fix="leave out --invert" if section.invert else "--invert",
        )  # fmt: skip
    for _, group in groupby(picks, key=lambda pick: pick.file):
        yield from _coordinates(list(group), file, section, expected, density)


def _coordinates(
    picks: list[ListedPick], file: TomogramFile, section: PicksSection, expected: Expectations, density: Density
) -> Iterator[Finding]:
    """Find what is wrong with the coordinates of one tomogram in one file: with all of them, or line by line."""
    sizes = [pick.diameter or expected.diameters.get(pick.name, 0.0) for pick in picks]
    diameter = float(np.median(sizes)) / file.voxel_size
    whole = (
        rescaled(picks, file, section, density, diameter)
        or misplaced(picks, file, section, density, diameter)
        or on_nothing(picks, section, density, diameter)
    )
    if whole is not None:
        yield Finding(
            severity=whole.severity, file=picks[0].file.name, line=picks[0].line,
            found=f"{lines_of(picks)}: {whole.found}", expected=whole.expected, fix=whole.fix,
        )  # fmt: skip
    if whole is None or whole.severity == "warning":
        yield from _out_of_bounds(picks, file)


def _out_of_bounds(picks: list[ListedPick], file: TomogramFile) -> Iterator[Finding]:
    positions: NDArray[np.float64] = np.array([pick.position for pick in picks])
    for index in np.flatnonzero(~Box.whole(file.shape).contains(positions)):
        z, y, x = picks[index].position
        depth, height, width = file.shape
        yield Finding(
            severity="error", file=picks[index].file.name, line=picks[index].line,
            found=f"x, y, z = {x:.1f}, {y:.1f}, {z:.1f} voxels, outside {file.name}",
            expected=f"from 0 to {width - 1}, {height - 1}, {depth - 1}", fix="correct or delete this line",
        )  # fmt: skip

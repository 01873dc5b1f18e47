"""Scores as text tables for the terminal, like those of the SHREC papers."""

from collections.abc import Mapping

from picker_runtime.errors import one_line
from picker_training.evaluation.confusion import ClassCounts, ratio
from picker_training.evaluation.czii import CziiScore
from picker_training.evaluation.distance import DistanceScore
from picker_training.evaluation.masses import f1_by_mass, mass_of, size_groups
from picker_training.evaluation.shrec import ShrecScore

_HEAD = ("", "truths", "picks", "right", "precision", "recall", "F1")
_CLASSES_A_LINE = 8


def table(score: ShrecScore | CziiScore | DistanceScore) -> str:
    """Return the tables of a score, then what else its rule says.

    Under an organisers' rule a class's picks are the truths given that class, since it classifies truths.
    """
    if isinstance(score, DistanceScore):
        lines = _rows(score.confusion.class_counts, (score.truths, score.picks, score.tp))
        lines.append(("mean class F1", *[""] * 5, _number(score.mean_class_f1)))
        text = [*_columns(lines), f"centre error {_number(score.centre_error)} voxels"]
    else:
        lines = _rows(score.class_counts, None)
        lines.append(("mean class F1", *[""] * 5, _number(score.mean_class_f1)))
        text = [*_columns(_localisation(score)), "", *_columns(lines), "", *_by_mass(score.class_f1), *_remarks(score)]
    return "\n".join(one_line(line).rstrip() for line in text)


def _localisation(score: ShrecScore | CziiScore) -> list[tuple[str, ...]]:
    """Return the papers' row of counts and rates."""
    clipped = score.ro if isinstance(score, ShrecScore) else 0
    counts = (score.picks, score.tp, score.fp, score.fn, score.mh, clipped)
    rates = (score.ad, score.recall, score.precision, score.miss_rate, score.f1)
    return [
        ("RR", "TP", "FP", "FN", "MH", "RO", "AD", "recall", "precision", "miss rate", "F1"),
        (*(str(count) for count in counts), *(_number(rate) for rate in rates)),
    ]


def _rows(counts: Mapping[str, ClassCounts], localisation: tuple[int, int, int] | None) -> list[tuple[str, ...]]:
    """Return a row for each class in truth or prediction, lightest first where masses are known."""
    rows: list[tuple[str, ...]] = [_HEAD]
    if localisation:
        rows.append(_row("localisation", *localisation))
    named = [name for name, of_class in counts.items() if of_class.f1 is not None]
    if not localisation:
        named.sort(key=lambda name: mass_of(name) or float("inf"))
    return rows + [_row(name, counts[name].truths, counts[name].predictions, counts[name].right) for name in named]


def _by_mass(class_f1: Mapping[str, float | None]) -> list[str]:
    """Return the papers' line of class F1, lightest class first, and the size groups."""
    points = f1_by_mass(class_f1)
    lines = []
    for start in range(0, len(points), _CLASSES_A_LINE):
        part = points[start : start + _CLASSES_A_LINE]
        rows = [("class", *(p.name for p in part)), ("kDa", *(f"{p.mass_kda:g}" for p in part))]
        lines += _columns([*rows, ("F1", *(_number(p.f1) for p in part))], width=10)
    groups = ", ".join(f"{name} {_number(f1)}" for name, f1 in size_groups(class_f1).items() if f1 is not None)
    return [*lines, f"mean F1 by size: {groups}"] if groups else []


def _remarks(score: ShrecScore | CziiScore) -> list[str]:
    if isinstance(score, CziiScore):
        by_class = ", ".join(f"{name} {_number(value)}" for name, value in score.class_fbeta.items())
        return [f"F-beta (beta 4) {_number(score.fbeta)}: {by_class}"]
    remarks = [f"distance without rounding {_number(score.centre_error)} voxels"]
    if score.uncounted:
        remarks.append(f"recall counts {score.truths} truths, of which {score.uncounted} are neither found nor missed")
    return [*remarks, *(f"warning: {warning}" for warning in score.warnings)]


def _row(name: str, truths: int, picks: int, right: int) -> tuple[str, ...]:
    rates = (ratio(right, picks), ratio(right, truths), ratio(2 * right, picks + truths))
    return (name, *(str(n) for n in (truths, picks, right)), *(_number(rate) for rate in rates))


def _columns(rows: list[tuple[str, ...]], *, width: int = 11) -> list[str]:
    """Return the rows with the first column flush left and the others flush right."""
    first = max(len(row[0]) for row in rows)
    return [f"{row[0]:<{first}}" + "".join(f"{cell:>{width}}" for cell in row[1:]) for row in rows]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

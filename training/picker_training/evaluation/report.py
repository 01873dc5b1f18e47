"""Scores as a text table for the terminal."""

from picker_runtime.errors import one_line
from picker_training.evaluation.confusion import ratio
from picker_training.evaluation.distance import DistanceScore
from picker_training.evaluation.shrec import ShrecScore

_HEAD = ("", "truths", "picks", "right", "precision", "recall", "F1")


def table(score: ShrecScore | DistanceScore) -> str:
    """Return rows for localisation, each class in truth or prediction and their mean, then what else the rule says.

    Under an organisers' rule a class's picks are the truths given that class, since it classifies truths.
    """
    matrix = score.confusion
    rows = [_HEAD, _row("localisation", score.truths, score.picks, score.tp)]
    rows += [
        _row(name, matrix.truths[name], matrix.predictions[name], matrix.right[name])
        for name, f1 in matrix.f1.items()
        if f1 is not None
    ]
    rows.append(("mean class F1", "", "", "", "", "", _number(score.mean_class_f1)))
    width = max(len(row[0]) for row in rows)
    lines = [f"{row[0]:<{width}}" + "".join(f"{cell:>11}" for cell in row[1:]) for row in rows]
    warnings = score.warnings if isinstance(score, ShrecScore) else ()
    lines += [_remark(score), *(f"warning: {warning}" for warning in warnings)]
    return "\n".join(one_line(line) for line in lines)


def _row(name: str, truths: int, picks: int, right: int) -> tuple[str, ...]:
    rates = (ratio(right, picks), ratio(right, truths), ratio(2 * right, picks + truths))
    return (name, *(str(n) for n in (truths, picks, right)), *(_number(rate) for rate in rates))


def _remark(score: ShrecScore | DistanceScore) -> str:
    if isinstance(score, DistanceScore):
        return f"centre error {_number(score.centre_error)} voxels"
    return (
        f"picks on background {score.fp}, truths missed {score.fn}, hit more than once {score.mh}, "
        f"picks clipped {score.ro}, distance {_number(score.ad)} voxels"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

"""The table of a benchmark: Markdown for people, JSON for programs; what was not run stays empty."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from picker_training.benchmarking.protocol import Difficulty, Protocol
from picker_training.benchmarking.running import Result, seconds_per
from picker_training.evaluation.rules import Rule

HEAD: tuple[str, ...] = (
    "protocol", "detector", "seed", "difficulty", "loc. F1", "class F1", "loc. F1 (distance)", "class F1 (distance)",
    "centre error", "parameters", "GMAC / Mvoxel", "training, min", "seconds", "threads",
)  # fmt: skip
CLASS_HEAD: tuple[str, ...] = ("protocol", "detector", "seed", "difficulty")

Results = Mapping[tuple[str, int | None], Result | None]
"""By entry and seed, in the order of the rows; None where an entry was not run."""


def render(protocol: Protocol, results: Results) -> str:
    """Return both tables as Markdown: figures of every entry at every difficulty, then F1 of every class."""
    figures, by_class = [HEAD], [(*CLASS_HEAD, *protocol.classes)]
    for difficulty in protocol.difficulties:
        for (entry, seed), result in results.items():
            place = (protocol.name, entry, "" if seed is None else str(seed), f"{difficulty.name} ({difficulty.snr:g})")
            figures.append((*place, *_figures(result, difficulty, protocol)))
            scores = {} if result is None else result.scores[difficulty.name][Rule.SHREC2020]["class_f1"]
            by_class.append((*place, *(_number(scores.get(name), 2) for name in protocol.classes)))
    return "\n".join([*_markdown(figures), "", f"F1 of each class by `{Rule.SHREC2020}`:", "", *_markdown(by_class)])


def to_json(protocol: Protocol, results: Results) -> dict[str, Any]:
    """Return the protocol and all results as plain values."""
    return {
        "protocol": asdict(protocol),
        "results": [asdict(result) for result in results.values() if result is not None],
    }


def _figures(result: Result | None, difficulty: Difficulty, protocol: Protocol) -> tuple[str, ...]:
    if result is None:
        return ("",) * (len(HEAD) - len(CLASS_HEAD))
    scores = result.scores[difficulty.name]
    official, near = scores[Rule.SHREC2020], scores[Rule.DISTANCE]
    return (
        *(_number(rule[key], 3) for rule in (official, near) for key in ("f1", "mean_class_f1")),
        _number(near["centre_error_voxels"], 2),
        "" if result.parameters is None else f"{result.parameters:,}",
        "" if result.mac_per_voxel is None else f"{result.mac_per_voxel / 1e3:.1f}",
        "" if result.training is None else f"{result.training['seconds'] / 60:.1f}",
        f"{seconds_per(result.timing, math.prod(protocol.timing_shape)):.1f}",
        f"{result.threads} {result.device}",
    )


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return [head, "|" + " --- |" * len(rows[0]), *body]

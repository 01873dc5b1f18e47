"""Precision: graphs that compute less precisely and faster, beside a bundle's float32 one if they pick as well."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picker_export.half import half_graph
from picker_export.judging import Judgement, card_picks, judge_precision
from picker_export.quantisation import write_int8
from picker_runtime.atomic import write_bytes
from picker_runtime.bundle import GRAPH, GRAPHS
from picker_runtime.card import ModelCard
from picker_runtime.engines.openvino import OpenVinoEngine
from picker_runtime.ir_safety import CONSTANTS
from picker_training.datasets.annotated import AnnotatedVolume

Cubes = Callable[[], Iterable[NDArray[np.float32]]]
"""Gives cubes of training data, each `(1, 1, d, h, w) float32`, normalised."""


def add_precisions(
    folder: Path,
    card: ModelCard,
    precisions: Iterable[str],
    *,
    cubes: Cubes,
    scenes: list[AnnotatedVolume],
    say: Callable[[str], None],
) -> list[Judgement]:
    """Write graphs beside the float32 one, judge each and remove those that pick worse.

    Float16 is judged with its weights and float32 sums, since CPUs have no float16.

    Raises:
        EngineError: E60 if nncf is not installed, E62 if the graph cannot be float16.
    """
    wanted = [precision for precision in precisions if GRAPHS[precision] != GRAPH]
    if not wanted:
        return []
    with OpenVinoEngine(folder / GRAPH) as engine:
        float32 = [card_picks(engine, card, scene) for scene in scenes]
    judgements = []
    for precision in wanted:
        path = folder / GRAPHS[precision]
        if precision == "int8":
            say(f"int8: scaled by {write_int8(folder / GRAPH, cubes(), path)} cubes")
        else:
            write_bytes(path, half_graph(folder / GRAPH))
        with OpenVinoEngine(path) as engine:
            judgement = judge_precision(precision, engine, float32, card, scenes)
        if not judgement.passed:
            f1, class_f1 = (f"{old:.3f} -> {new:.3f}" for old, new in judgement.changes)
            say(f"{precision} is left out: F1 {f1}, class F1 {class_f1}")
            for file in (path, path.with_suffix(CONSTANTS)):
                file.unlink(missing_ok=True)
        judgements.append(judgement)
    return judgements

"""Score thresholds per class: the model's own or those asked for, for all classes or some."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from picker_runtime.errors import UsageError


def resolve(
    defaults: Mapping[str, float],
    *,
    floor: float,
    wanted: float | Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Return the threshold of every class, in the order of the defaults.

    wanted: one threshold for all classes, or by class name; the rest keep their defaults.
    floor: lowest score that candidates have; no threshold can be below.

    Raises:
        UsageError: E80 if a class is unknown or a threshold is not in floor..1.
    """
    by_class = wanted if isinstance(wanted, Mapping) else {} if wanted is None else dict.fromkeys(defaults, wanted)
    _check_known(by_class, defaults)
    for name, value in by_class.items():
        if not floor <= value <= 1:
            problem = f"{value:g} for {name} is not between the model's lowest score {floor:g} and 1"
            raise UsageError(80, "--threshold", problem, f"use {floor:g} or more")
    return {name: float(value) for name, value in {**defaults, **by_class}.items()}


def of_classes(thresholds: Mapping[str, float], classes: Iterable[str] | None) -> dict[str, float]:
    """Return the thresholds of the classes to pick, in the order they stand in; None for all.

    Raises:
        UsageError: E80 if a class is unknown.
    """
    wanted = set(thresholds if classes is None else classes)
    _check_known(wanted, thresholds)
    return {name: value for name, value in thresholds.items() if name in wanted}


def as_array(thresholds: Mapping[str, float], class_names: Sequence[str]) -> NDArray[np.float64]:
    """Return thresholds `(classes,) float64` by class id; infinity for a class that is not to be picked."""
    return np.array([thresholds.get(name, np.inf) for name in class_names], np.float64)


def _check_known(names: Iterable[str], known: Mapping[str, float]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(80, f"class {name}", "not a class of this model", f"use one of {', '.join(known)}")

"""Hand-worked cases: a truth of few voxels, picks, what a rule says, and the one voxel that the answer hangs on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from picker_training.datasets.truth import Truth
from picker_training.evaluation.shrec import ShrecScore

Xyz = tuple[int, int, int]
Rule = Callable[..., ShrecScore]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A truth of single voxels in a slab, picks, what the rule says, and the voxel it hangs on.

    truth, picks: `class x y z; class x y z`. extra: further voxels x, y, z and whose they are. shape: of the slab, zyx.
    """

    name: str
    truth: str
    picks: str
    expected: dict[str, Any]
    voxel: Xyz
    changed_to: int
    options: dict[str, Any] = field(default_factory=dict)
    extra: tuple[tuple[Xyz, int], ...] = ()
    shape: Xyz = (200, 8, 8)


def parse(text: str) -> tuple[list[str], np.ndarray]:
    rows = [line.split() for line in text.split(";") if line.strip()]
    return [row[0] for row in rows], np.array([[float(v) for v in row[:0:-1]] for row in rows]).reshape(-1, 3)


def score(rule: Rule, case: Case, *, change: bool = False) -> ShrecScore:
    names, centres = parse(case.truth)
    mask = np.zeros(case.shape, np.int32)
    for number, (z, y, x) in enumerate(np.rint(centres).astype(int), start=1):
        mask[z, y, x] = number
    for (x, y, z), number in case.extra:
        mask[z, y, x] = number
    if change:
        x, y, z = case.voxel
        mask[z, y, x] = case.changed_to
    pick_names, positions = parse(case.picks)
    return rule(
        pick_names=pick_names,
        pick_positions=positions,
        truth=Truth(names=tuple(names), positions=centres),
        occupancy_mask=mask,
        **case.options,
    )


def holds(result: ShrecScore, expected: dict[str, Any]) -> bool:
    found = result.to_json()
    for key, value in expected.items():
        actual = found["class_f1"][key.removeprefix("f1_")] if key.startswith("f1_") else found[key]
        if actual != (value if value is None else pytest.approx(value, abs=1e-12)):
            return False
    return True


def simple(rule: Rule, truth: str, picks: str, **options: Any) -> dict[str, Any]:
    case = Case(name="", truth=truth, picks=picks, expected={}, voxel=(0, 0, 0), changed_to=0, options=options)
    return score(rule, case).to_json()

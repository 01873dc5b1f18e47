"""Parting: a run's only tomogram in two, a part to learn from and a block that is held back to judge."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from picker_runtime.errors import UsageError
from picker_runtime.geometry import Box, Triple
from picker_runtime.tomogram import MIN_AXIS, Tomogram
from picker_training.augmentation import FILL
from picker_training.datasets.annotated import ANY_VOXEL_SIZE, AnnotatedTomogram

HELD_BACK = 4
"""One part in so many of a run's only tomogram is held back to judge it."""

DISTRACTOR = -1
"""Stands for the distractors where particles have the numbers of their classes."""

Part = tuple[Box, Box]
"""What is learnt from and the block held back, at the end or the start of y or x, a margin between."""

MORE = "annotate more, or a second tomogram"


def hold_back(
    tomogram: AnnotatedTomogram, classes: Sequence[str], *, halo: int
) -> tuple[AnnotatedTomogram, AnnotatedTomogram]:
    """Part a tomogram: a quarter at an end of y or x is held back; crops of the rest, less a strip, do not reach it.

    (Where the rest is narrower than a crop they do, but nothing is learnt there.)

    Of the four quarters that one is taken whose rest lacks no class and shows distractors, if there are any; then the
    one with most classes on both sides; then that with most nearly a quarter of the particles. Where no quarter with
    particles leaves such a rest, the block begins where a quarter of the particles' own extent lies beyond. What is
    masked or ignored does not count.

    Raises:
        UsageError: E84 if a block is too narrow or holds no particle, or no particle of a class is left to train on.
    """
    reach, known = halo + FILL, tomogram.known
    places, kinds = _labels(tomogram)
    particles = kinds != DISTRACTOR
    quarters = _parts(known, known, reach)
    parts = quarters + _parts(known, _extent(places[particles], known), reach)
    if not parts:
        problem = f"{known.shape} voxels (z, y, x) with picks: too small to hold a quarter back"
        raise UsageError(84, tomogram.path.name, problem, "annotate a second tomogram")

    def merit(part: Part) -> tuple[int | bool | float, ...]:
        rest, block = (kinds[box.contains(places)] for box in part)
        shown, judged = set(rest.tolist()), block[block != DISTRACTOR]
        learnt = shown - {DISTRACTOR}
        away = abs(len(judged) / max(int(particles.sum()), 1) - 1 / HELD_BACK)
        return len(learnt), len(judged) > 0, shown > learnt, part in quarters, len(learnt & set(judged.tolist())), -away

    rest, block = max(parts, key=merit)
    learnt, judged = kinds[rest.contains(places)], kinds[block.contains(places)]
    _check(tomogram.path.name, classes, kinds.tolist(), learnt=learnt.tolist(), judged=judged.tolist())
    near = rest.grown(reach).contains(tomogram.positions)
    training = replace(
        tomogram, known=rest, positions=tomogram.positions[near], class_ids=tomogram.class_ids[near],
        distractors=tomogram.distractors[rest.contains(tomogram.distractors)],
    )  # fmt: skip
    return training, replace(tomogram, known=block)


def _check(
    name: str, classes: Sequence[str], kinds: list[int], *, learnt: Collection[int], judged: Collection[int]
) -> None:
    """Check that every class can be learnt and some particle judges."""
    for number, kind in enumerate(classes):
        if number not in learnt:
            problem = f"none of its picks in {name} ({kinds.count(number)} that count) is left to learn from"
            raise UsageError(84, kind, f"{problem}, with a part held back to judge", MORE)
    if not set(judged) - {DISTRACTOR}:
        problem = "its picks lie too close together to learn from some and hold others back to judge"
        raise UsageError(84, name, problem, MORE)


def _labels(tomogram: AnnotatedTomogram) -> tuple[NDArray[np.float64], NDArray[np.integer]]:
    """Return places `(n, 3) zyx, voxels` and classes `(n,)` of the particles and distractors that count.

    Those do that lie in the known part, and neither in the mask nor in an ignored ball.
    """
    places = np.vstack([tomogram.positions, tomogram.distractors])
    kinds = np.append(tomogram.class_ids, np.full(len(tomogram.distractors), DISTRACTOR))
    counts = tomogram.known.contains(places)
    for *centre, radius in tomogram.ignored.tolist():
        counts &= np.linalg.norm(places - centre, axis=1) > radius
    if tomogram.unlabelled is not None:
        with Tomogram.open(tomogram.unlabelled, voxel_size=ANY_VOXEL_SIZE) as mask:
            for i in np.flatnonzero(counts):
                voxel = _extent(places[i : i + 1], tomogram.known)
                counts[i] = not np.nan_to_num(mask.read(voxel)).any()
    return places[counts], kinds[counts]


def _extent(places: NDArray[np.float64], known: Box) -> Box:
    """Return the box around the voxels of places `(n, 3) zyx, voxels`, within what is known; all that without any."""
    if not len(places):
        return known
    (z0, y0, x0), (z1, y1, x1) = (np.rint(ends).astype(int).tolist() for ends in (places.min(0), places.max(0)))
    return Box((z0, y0, x0), (z1 + 1, y1 + 1, x1 + 1)).intersection(known)


def _parts(known: Box, extent: Box, margin: int) -> list[Part]:
    """Return the ways to part what is known, a quarter of the extent beyond the border, that leave nothing narrow."""
    parts = [_parted(known, extent, axis, at_end, margin) for axis in (1, 2) for at_end in (True, False)]
    return [part for part in parts if min(*part[0].shape, *part[1].shape) >= MIN_AXIS]


def _parted(known: Box, extent: Box, axis: int, at_end: bool, margin: int) -> Part:
    quarter = extent.shape[axis] // HELD_BACK
    start, stop = known.start[axis], known.stop[axis]
    border = extent.stop[axis] - quarter if at_end else extent.start[axis] + quarter
    low, high = _with(known, axis, start, border), _with(known, axis, border, stop)
    if at_end:
        return _with(known, axis, start, max(border - margin, start)), high
    return _with(known, axis, min(border + margin, stop), stop), low


def _with(box: Box, axis: int, start: int, stop: int) -> Box:
    """Return the box with other bounds on one axis."""

    def replaced(old: Triple, new: int) -> Triple:
        z, y, x = (new if i == axis else value for i, value in enumerate(old))
        return z, y, x

    return Box(replaced(box.start, start), replaced(box.stop, stop))

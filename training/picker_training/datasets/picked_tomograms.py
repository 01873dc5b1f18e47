"""One's own tomograms with picks files as annotated tomograms: what the configuration must say, and how they open."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from picker_runtime.errors import UsageError
from picker_runtime.geometry import Box
from picker_runtime.mask import Mask
from picker_runtime.outputs import stem_of
from picker_runtime.tomogram import MIN_AXIS
from picker_training.datasets.annotated import AnnotatedTomogram, annotate
from picker_training.datasets.parting import hold_back
from picker_training.datasets.picks import (
    SUFFIXES,
    Annotations,
    ListedPick,
    TomogramFile,
    owner_of,
    read_annotations,
)
from picker_training.picks_section import PicksSection


def known_diameters(
    annotations: Annotations, section: PicksSection, of_model: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Return the diameter, in angstrom, of every class of which it is known: as stated, in the files, by a model."""
    listed: dict[str, list[float]] = {}
    for pick in annotations.picks:
        if pick.diameter:
            listed.setdefault(pick.name, []).append(pick.diameter)
    in_files = {name: round(float(np.median(values)), 1) for name, values in listed.items()}
    return dict(of_model or {}) | in_files | section.diameters_angstrom()


def class_names(annotations: Annotations, section: PicksSection, *, order: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the classes to find: those of the files that are neither background nor ignored, by name.

    order: names that come first, in this order.
    """
    found = {pick.name for pick in annotations.picks} - {*section.background, *section.ignored}
    known = [name for name in dict.fromkeys(order) if name in found]
    return (*known, *sorted(found - set(known)))


def complete(
    section: PicksSection, annotations: Annotations, classes: Sequence[str], diameters: Mapping[str, float]
) -> PicksSection:
    """Return the section with the diameters and the validation tomogram that it leaves open.

    Raises:
        UsageError: E80 if there are no classes, the diameter of one is not known, or the named validation tomogram is
            not there or the only one.
    """
    if not classes:
        raise UsageError(80, "--picks", "no class left to learn", "give picks files of particles")
    listed = {pick.name for pick in annotations.picks}
    sized = [name for name in (*classes, *section.ignored) if name in listed]
    for name in sized:
        if name not in diameters:
            raise UsageError(80, name, "its diameter is not known", f"add --diameter {name}=ANGSTROM")
    names = annotations.annotated
    if section.validation and (section.validation not in names or len(names) < 2):
        problem = f"not one of several tomograms with picks ({', '.join(names)})"
        raise UsageError(80, f"--validation {section.validation}", problem, "name one, and leave another to train on")
    chosen = tuple(f"{name}={diameters[name]:g}" for name in sized)
    last = names[-1] if len(names) > 1 else ""
    return replace(section, diameters=chosen, validation=section.validation or last)


def open_tomograms(
    section: PicksSection, classes: Sequence[str], *, halo: int
) -> tuple[list[AnnotatedTomogram], AnnotatedTomogram]:
    """Return the tomograms to train on and the one, or the block of the only one, that judges and calibrates.

    halo: voxels that a training crop reaches beyond the part it learns from.

    Raises:
        InputError: if a file cannot be used. UsageError: E80 for a mask without tomogram; E84 if the only tomogram is
            too small, or holds too few particles, for a block to be held back, or a class is in the one that judges
            alone.
    """
    annotations = read_annotations(section)
    named = annotations.named
    for error in [*annotations.unreadable.values(), *(e for n, e in annotations.refused.items() if n in named)]:
        raise error
    annotated = annotations.annotated
    masks = ignore_masks(section, annotated, others=[*annotations.tomograms, *annotations.refused])
    made = {name: _annotated(annotations, name, section, classes, masks.get(name)) for name in annotated}
    if len(made) == 1:
        (only,) = made.values()
        training, block = hold_back(only, classes, halo=halo)
        return [training], block
    if section.validation not in made or len(made) < 2:
        names = ", ".join(made) or "none"
        raise UsageError(84, section.validation, f"not among the tomograms with picks ({names})", "put it back")
    validation = made.pop(section.validation)
    learnt = {number for tomogram in made.values() for number in tomogram.class_ids.tolist()}
    for number, name in enumerate(classes):
        if number not in learnt:
            problem = f"has picks in {section.validation} alone, which judges the run"
            raise UsageError(84, name, problem, "let another tomogram judge: --validation NAME")
    return list(made.values()), validation


def ignore_masks(section: PicksSection, tomograms: Sequence[str], *, others: Sequence[str] = ()) -> dict[str, Path]:
    """Return the ignore mask of each tomogram that has one; the only mask of the only tomogram may have any name.

    A mask that is called as its tomogram goes before those that are called after it.

    others: tomograms that masks may belong to, too, so that they are nobody else's.

    Raises:
        UsageError: E80 if a mask is not there or belongs to no tomogram; E81 if two belong to one.
    """
    masks: dict[str, Path] = {}
    for place in map(Path, section.ignore_masks):
        files = sorted(p for p in place.iterdir() if p.suffix.lower() in SUFFIXES) if place.is_dir() else [place]
        for path in files:
            only = tomograms[0] if len(tomograms) == 1 and not place.is_dir() else ""
            owner = owner_of(path, {*tomograms, *others}) or only
            if owner in tomograms:
                masks[owner] = _preferred(path, masks.get(owner), owner)
            elif not place.is_dir():
                problem = f"a mask of none of the tomograms {', '.join(tomograms)}"
                raise UsageError(80, f"--ignore-mask {path.name}", problem, "name it after its tomogram, TOMOGRAM.mrc")
    return masks


def _preferred(path: Path, other: Path | None, owner: str) -> Path:
    """Return the one of two masks of a tomogram that is called as it is."""
    named = [mask for mask in (path, other) if mask is not None and stem_of(mask) == owner]
    if other is None or len(named) == 1:
        return named[0] if named else path
    problem = f"and {other.name} are both masks of {owner}"
    raise UsageError(81, f"--ignore-mask {path.name}", problem, "join them into one")


def _annotated(
    annotations: Annotations, name: str, section: PicksSection, classes: Sequence[str], mask: Path | None
) -> AnnotatedTomogram:
    file = annotations.tomograms[name]
    picks = [pick for pick in annotations.picks if pick.tomogram == name]
    diameters = section.diameters_angstrom()
    balls = [
        [*pick.position, 0.5 * diameters[pick.name] / file.voxel_size] for pick in picks if pick.name in section.ignored
    ]
    made = annotate(
        file.path, voxel_size=file.voxel_size, known=_known(file, section), names=[pick.name for pick in picks],
        positions=_positions(picks), classes=classes, ignored=np.array(balls, np.float64).reshape(-1, 4),
        mode0=section.byte_sign,
    )  # fmt: skip
    if mask is not None:
        with file.open() as tomogram, Mask(mask, like=tomogram):
            pass  # its shape is checked
    distractors = _positions([pick for pick in picks if pick.name in section.background])
    return replace(made, distractors=distractors, unlabelled=mask, invert=section.invert)


def _known(file: TomogramFile, section: PicksSection) -> Box:
    (d, h, w), (z, y, x) = file.shape, section.border
    if min(n - 2 * edge for n, edge in zip(file.shape, section.border, strict=True)) < MIN_AXIS:
        problem = f"{tuple(section.border)} voxels at each face leave less than {MIN_AXIS} of {file.shape} (z, y, x)"
        raise UsageError(80, "--border", problem, "give a narrower border")
    return Box((z, y, x), (d - z, h - y, w - x))


def _positions(picks: Sequence[ListedPick]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.array([pick.position for pick in picks], np.float64).reshape(-1, 3)

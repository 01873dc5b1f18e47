"""Scores of files: picks files against truth folders in SHREC layout."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picker_runtime.bundle import Bundle
from picker_runtime.errors import InputError, UsageError
from picker_runtime.formats import FORMATS, NamedPick, read_named_picks
from picker_runtime.formats.shrec import read_locations
from picker_training.datasets.shrec import read_occupancy_mask, read_truth, read_voxel_size
from picker_training.datasets.truth import Truth
from picker_training.evaluation import czii, distance, shrec
from picker_training.evaluation.rules import Options, Rule

Score = shrec.ShrecScore | czii.CziiScore | distance.DistanceScore

SHREC_RULES: dict[Rule, Callable[..., shrec.ShrecScore]] = {
    Rule.SHREC2019: shrec.score_2019,
    Rule.SHREC2020: shrec.score_2020,
    Rule.SHREC2020_COPY: shrec.score_2020_copy,
    Rule.SHREC2021: shrec.score_2021,
    Rule.SHREC2021_CLEAN: shrec.score_2021_clean,
    Rule.PAPER: shrec.score_paper,
}
"""The rules that look picks up in an occupancy mask."""


def score_files(
    rule: Rule, truth_folders: Sequence[Path], picks_files: Sequence[Path], options: Options | None = None
) -> Score:
    """Score picks files, one for each truth folder, by a rule; `czii` alone takes more than one.

    Raises:
        InputError: E44, if picks cannot be read or are of several tomograms; E46, if a truth cannot be read; E45, if
            the mask is too small for the rule; E31 or E32, if it is needed for the voxel size and states no usable one.
        ModelError: E50 to E53, if the model is needed and cannot be used.
        UsageError: E80, if the options do not fit the rule or each other.
    """
    options = options or Options()
    options.check(rule)
    if len(truth_folders) != len(picks_files) or not truth_folders:
        problem = f"{len(picks_files)} files for {len(truth_folders)} truths"
        raise UsageError(80, "--picks", problem, "give one --picks for each --truth")
    if rule is Rule.CZII:
        return _score_czii(truth_folders, picks_files, options)
    if len(truth_folders) > 1:
        raise UsageError(80, "--truth", f"the rule `{rule}` scores one tomogram", "give one --truth and one --picks")
    if rule is Rule.DISTANCE:
        return _score_distance(truth_folders[0], picks_files[0], options)
    return _score_shrec(rule, truth_folders[0], picks_files[0], options)


def _score_shrec(rule: Rule, folder: Path, picks_file: Path, options: Options) -> shrec.ShrecScore:
    """Score by a rule of `SHREC_RULES`; the picks count in file order."""
    zyx = rule is Rule.SHREC2019
    picks = _read_one_tomogram(picks_file, zyx=zyx, z_offset=options.z_offset)
    truth = read_truth(folder, order="zyx" if zyx else None)
    more: dict[str, Any] = {}
    if rule in (Rule.SHREC2019, Rule.SHREC2020):
        more["z_frame"] = options.z_frame
    if rule is Rule.SHREC2019:
        more["padding"] = options.padding
    try:
        return SHREC_RULES[rule](
            pick_names=_names(picks),
            pick_positions=_positions(picks),
            truth=truth,
            occupancy_mask=read_occupancy_mask(folder, truth, name=options.mask),
            **more,
        )
    except shrec.MaskTooSmallError as error:
        fix = "leave such picks out, give a mask of the whole tomogram, or --z-offset 166 where z counts 512 slices"
        raise InputError(45, picks_file.name, str(error), fix) from error


def _score_distance(folder: Path, picks_file: Path, options: Options) -> distance.DistanceScore:
    """Score by `distance.score`; picks without scores count in file order."""
    picks = _read_one_tomogram(picks_file, z_offset=options.z_offset)
    truth = read_truth(folder)
    angstrom = _complete(options.diameters, truth, options.model)
    size = options.voxel_size or read_voxel_size(folder)
    return distance.score(
        _positions(picks),
        _names(picks),
        np.array([pick.score for pick in picks], np.float64),
        truth,
        {name: value / size for name, value in angstrom.items()},
    )


def _score_czii(folders: Sequence[Path], picks_files: Sequence[Path], options: Options) -> czii.CziiScore:
    """Score by `czii.score_czii`; without radii, classes of the challenge have the challenge's radii and weights."""
    tomograms = []
    for folder, picks_file in zip(folders, picks_files, strict=True):
        picks = _read_one_tomogram(picks_file, z_offset=options.z_offset)
        size = options.voxel_size or read_voxel_size(folder)
        tomograms.append(czii.Tomogram(_names(picks), _positions(picks), read_truth(folder), size))
    radii = options.radii or czii.RADII_ANGSTROM
    named = {name for tomogram in tomograms for name in (*tomogram.pick_names, *tomogram.truth.names)}
    if missing := sorted((named | set(options.weights)) - set(radii)):
        fix = " ".join(f"--radius {name}=ANGSTROM" for name in missing)
        raise UsageError(80, "--radius", f"no radius for {', '.join(missing)}", f"add {fix}")
    weights = options.weights if options.radii else czii.WEIGHTS | options.weights
    return czii.score_czii(tomograms, radii_angstrom=radii, weights=weights)


def _read_one_tomogram(path: Path, *, zyx: bool = False, z_offset: int = 0) -> list[NamedPick]:
    """Read picks; zyx: text lists are `class z y x`. z_offset: taken off z."""
    is_text = path.is_file() and FORMATS["shrec"].recognises(path)
    picks = read_locations(path, order="zyx") if zyx and is_text else read_named_picks(path)
    if len(tomograms := sorted({pick.tomogram for pick in picks})) > 1:
        problem = f"picks of {len(tomograms)} tomograms: {', '.join(tomograms[:3])}"
        raise InputError(44, path.name, problem, "give the file of one tomogram")
    return [_lowered(pick, z_offset) for pick in picks]


def _lowered(pick: NamedPick, slices: int) -> NamedPick:
    z, y, x = pick.position
    return pick._replace(position=(z - slices, y, x))


def _names(picks: Sequence[NamedPick]) -> list[str]:
    return [pick.name for pick in picks]


def _positions(picks: Sequence[NamedPick]) -> NDArray[np.float64]:
    return np.array([pick.position for pick in picks], np.float64).reshape(-1, 3)


def _complete(angstrom: Mapping[str, float], truth: Truth, model: str) -> dict[str, float]:
    """Return a diameter for every class of the truth, the model opened only if it must be asked."""
    complete = dict(angstrom)
    if not complete.keys() >= set(truth.classes):
        complete = {known.name: known.diameter_angstrom for known in Bundle.open(model).card.classes} | complete
    if missing := sorted(set(truth.classes) - complete.keys()):
        fix = " ".join(f"--diameter {name}=ANGSTROM" for name in missing)
        raise UsageError(80, "--diameter", f"no diameter for {', '.join(missing)} of the truth", f"add {fix}")
    return complete

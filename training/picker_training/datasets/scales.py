"""Scales: coordinates for a binned tomogram, in angstrom, or from before the tomogram was given another voxel size."""

import csv
from collections.abc import Iterable
from typing import NamedTuple

from picker_runtime.formats import FORMATS
from picker_runtime.formats.base import read_lines
from picker_runtime.tomogram import MODEL_TOLERANCE
from picker_training.datasets.coordinates import (
    CLEAR,
    MANY,
    NEARLY_ALL,
    Misreading,
    extent,
    positions_of,
    rewritten,
    share_inside,
    upright_of,
)
from picker_training.datasets.density import Density
from picker_training.datasets.picks import ListedPick, TomogramFile, anchor_of
from picker_training.picks_section import PicksSection

BINNINGS = (2.0, 4.0, 8.0)
LEAST_CLUSTERED = 8
"""Fewer picks may lie near the origin by chance."""


class Scale(NamedTuple):
    """A factor by which coordinates may have to be multiplied: where it comes from, and when it is the right one."""

    factor: float
    source: str
    when: str


def rescaled(
    picks: list[ListedPick], file: TomogramFile, section: PicksSection, density: Density, diameter_voxels: float
) -> Misreading | None:
    """Tell whether picks fit a tomogram only if they are divided, or fill it only if they are multiplied, by a factor.

    Factors are 2, 4 and 8, for binning, the voxel size, for coordinates in the wrong unit, and the ratio of the voxel
    size that the file states to the tomogram's. One of those that fit is advised if density stands out at its places by
    `CLEAR` standard errors more than at those of any other, and than at the picks as they are; else all are named.
    """
    positions, anchor = positions_of(picks), anchor_of(picks[0].file, file.shape, section)
    outside = share_inside(positions, file) < 1 - MANY
    if outside and any(share_inside(p, file) >= NEARLY_ALL for _, p in rewritten(positions, picks, file, section)):
        return None
    fitting: list[tuple[float, Scale]] = []
    for scale in _scales(picks, file, section, outside=outside):
        moved = anchor + (upright_of(positions, file, section) - anchor) * scale.factor
        moved = upright_of(moved, file, section)
        if share_inside(moved, file) >= NEARLY_ALL:
            fitting.append((density.prominence(moved, diameter_voxels), scale))
    if not fitting:
        return None
    own = 0.0 if outside else density.prominence(positions, diameter_voxels)
    clear, best = max(fitting, key=lambda pair: pair[0])
    if clear >= CLEAR + max([own, *(seen for seen, scale in fitting if scale is not best)]):
        return Misreading(
            severity="error", expected="voxels of this tomogram", fix=f"--scale {section.scale * best.factor:.6g}",
            found=f"{extent(positions, file)}; {_fits(best)}, on density that differs by {clear:.1f} standard errors "
            "from that about it",
        )  # fmt: skip
    if own >= CLEAR:
        return None
    return _undecided([scale for _, scale in fitting], extent(positions, file), section, outside=outside)


def stated_voxel_size(picks: list[ListedPick]) -> float:
    """Return the voxel size, in angstrom, by which the two kinds of columns of our CSV differ; 0 where none is stated.

    picks: lines of one file.
    """
    path = picks[0].file
    if not FORMATS["csv"].recognises(path):
        return 0.0
    lines = {pick.line for pick in picks}
    reader = csv.DictReader(line + "\n" for line in read_lines(path))
    rows = [row for row in reader if reader.line_num in lines]
    voxels, angstrom = (
        sum(abs(float(row[axis + unit])) for row in rows for axis in "xyz") for unit in ("", "_angstrom")
    )
    return angstrom / voxels if voxels else 0.0


def _scales(picks: list[ListedPick], file: TomogramFile, section: PicksSection, *, outside: bool) -> Iterable[Scale]:
    """Return the factors in question; of two that are as good as equal the last."""
    if outside:
        scales = [Scale(1 / factor, "binning", f"for binning {factor:g}") for factor in BINNINGS]
        scales.append(Scale(1 / file.voxel_size, "the voxel size", "if they are in angstrom"))
    elif len(picks) >= LEAST_CLUSTERED:
        scales = [Scale(factor, "binning", f"if they were binned by {factor:g}") for factor in BINNINGS]
        scales.append(Scale(file.voxel_size, "the voxel size", "if they were divided by it"))
    else:
        scales = []
    scales = [scale for scale in scales if (scale.factor < 1) == outside]
    stated = stated_voxel_size(picks)
    ratio = stated / (file.voxel_size * section.scale)
    if stated and abs(ratio - 1) > MODEL_TOLERANCE:
        source = f"{stated:.4g} A a voxel by its angstrom columns, {file.voxel_size:.4g} A in {file.name}"
        scales.append(Scale(ratio, source, f"if {file.name} was rescaled since ({source})"))
    return {f"{scale.factor:.3g}": scale for scale in scales}.values()


def _fits(scale: Scale) -> str:
    if scale.factor < 1:
        return f"divided by {1 / scale.factor:.6g} ({scale.source}) all fit"
    return f"times {scale.factor:.6g} ({scale.source}) they still fit"


def _undecided(scales: list[Scale], reach: str, section: PicksSection, *, outside: bool) -> Misreading:
    choices = [f"--scale {section.scale * scale.factor:.6g} {scale.when}" for scale in scales]
    if outside:
        choices.append("--scale OLD/NEW if the tomogram's voxel size was changed from OLD to NEW")
    return Misreading(
        severity="error" if outside else "warning", expected="voxels of this tomogram",
        found=f"{reach}; at another scale they fit, but density does not single one out",
        fix=f"{', or '.join(choices)}; compare in a viewer",
    )  # fmt: skip

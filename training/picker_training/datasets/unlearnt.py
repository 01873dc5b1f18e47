"""Picks of which nothing is learnt: an ignore mask covers their places, or they lie within the border."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picker_runtime.errors import InputError
from picker_runtime.geometry import Box
from picker_runtime.mask import Mask
from picker_runtime.tiling import Tile
from picker_training.datasets.coordinates import positions_of
from picker_training.datasets.findings import Finding
from picker_training.datasets.picked_tomograms import ignore_masks
from picker_training.datasets.picks import Annotations, ListedPick, TomogramFile
from picker_training.picks_section import PicksSection

MANY = 0.2
"""That nothing is learnt of a larger share of a class's picks is hardly meant."""


def unlearnt(annotations: Annotations, section: PicksSection) -> Iterator[Finding]:
    """Find masks that do not fit, and classes of which many picks in a tomogram, or all picks in it, are not learnt.

    Raises:
        UsageError: E80 if a mask is not there or belongs to no tomogram; E81 if two belong to one.
    """
    names = annotations.annotated
    masks = ignore_masks(section, names, others=[*annotations.tomograms, *annotations.refused]) if names else {}
    left_out = {*section.background, *section.ignored}
    for name in names:
        file, mask = annotations.tomograms[name], masks.get(name)
        picks = [p for p in annotations.picks if p.tomogram == name and p.name not in left_out]
        inside = Box.whole(file.shape).contains(positions_of(picks))
        try:
            yield from _of_one([p for p, there in zip(picks, inside, strict=True) if there], file, section, mask)
        except InputError as error:
            yield Finding(
                severity="error", file=error.subject, line=0, found=error.problem,
                expected=f"a mask of {file.path.name}", fix=error.fix,
            )  # fmt: skip


def _of_one(picks: list[ListedPick], file: TomogramFile, section: PicksSection, mask: Path | None) -> Iterator[Finding]:
    voxels = np.floor(positions_of(picks) + 0.5).astype(np.intp)
    border = np.array(section.border)
    bordered = np.any((voxels < border) | (voxels >= np.array(file.shape) - border), axis=1)
    masked = _masked(voxels, file, mask)
    causes = {}
    if mask is not None and masked.any():
        causes[f"--ignore-mask {mask.name}"] = "turn the mask over, it is 0 where particles are learnt"
    if bordered.any():
        causes[f"--border {' '.join(map(str, section.border))}"] = "give --border as Z Y X"
    hidden = bordered | masked
    for name in sorted({pick.name for pick in picks}):
        of_class = np.array([pick.name == name for pick in picks])
        count, total = int(hidden[of_class].sum()), int(of_class.sum())
        if count > MANY * total:
            yield Finding(
                severity="error" if hidden.all() else "warning", file=file.path.name, line=0,
                found=f"{count} of {total} picks of {name} lie where nothing is learnt ({', '.join(causes)})",
                expected="particles where they are learnt", fix="; ".join(causes.values()),
            )  # fmt: skip


def _masked(voxels: NDArray[np.intp], file: TomogramFile, mask: Path | None) -> NDArray[np.bool_]:
    """Tell which voxels `(n, 3) zyx` of a tomogram its mask ignores.

    Raises:
        InputError: E45 if the mask has another shape; what `Tomogram` raises if it cannot be read.
    """
    if mask is None:
        return np.zeros(len(voxels), np.bool_)
    with file.open() as tomogram, Mask(mask, like=tomogram) as ignored:
        places = [Box((z, y, x), (z + 1, y + 1, x + 1)) for z, y, x in voxels.tolist()]
        return np.array([ignored.touches(Tile(place, place, place)) for place in places], np.bool_)

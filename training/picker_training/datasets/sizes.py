"""Sizes that do not agree: voxels of another size than the model's, particles too small for the voxels."""

from collections.abc import Iterator, Mapping

import numpy as np

from picker_runtime.tomogram import MODEL_TOLERANCE
from picker_training.datasets.findings import Finding
from picker_training.datasets.picks import Annotations
from picker_training.picks_section import PicksSection

LEAST_VOXELS = 3.0
"""A particle of fewer voxels across is hardly seen; a diameter in nanometres or voxels looks so."""

ALIKE = 2.0
"""By more than this factor a stated diameter and that in the files do not differ, if both are right."""


def voxel_sizes(annotations: Annotations, section: PicksSection, wanted: float) -> Iterator[Finding]:
    """Find tomograms with picks whose voxel size is not the wanted one, in angstrom; 0 for that of the first."""
    files = [annotations.tomograms[name] for name in annotations.annotated]
    wanted = wanted or (files[0].voxel_size if files else 0.0)
    for file in files:
        if abs(file.voxel_size / wanted - 1) > MODEL_TOLERANCE:
            scale = section.scale * file.voxel_size / wanted
            yield Finding(
                severity="error", file=file.path.name, line=0, found=f"voxel size {file.voxel_size:.4g} A",
                expected=f"{wanted:.4g} A within 2 %, as the model and every other tomogram",
                fix=f"rebin it to {wanted:.4g} A and, if its picks count voxels as they are now, scale them with it, "
                f"by --scale {scale:.6g} if all do; only if the size is wrong, give the true one: --voxel-size",
            )  # fmt: skip


def diameters(annotations: Annotations, section: PicksSection, known: Mapping[str, float]) -> Iterator[Finding]:
    """Find classes whose diameter, in angstrom, may be in another unit: few voxels, or far from what the files say."""
    stated = section.diameters_angstrom()
    for name in sorted({pick.name for pick in annotations.picks} & known.keys()):
        picks = [pick for pick in annotations.picks if pick.name == name]
        place = f"--diameter {name}={stated[name]:g}" if name in stated else picks[0].file.name
        here = [pick for pick in picks if pick.tomogram in annotations.tomograms]
        voxel = max((annotations.tomograms[pick.tomogram].voxel_size for pick in here), default=0.0)
        if known[name] < LEAST_VOXELS * voxel:
            yield Finding(
                severity="warning", file=place, line=0,
                found=f"{name} is {known[name]:g} A, {known[name] / voxel:.1f} voxels across",
                expected=f"at least {LEAST_VOXELS:g} voxels",
                fix=f"give angstrom: --diameter {name}={known[name] * 10:g} if those were nanometres, "
                f"{known[name] * voxel:g} if they were voxels",
            )  # fmt: skip
        listed = [pick.diameter for pick in picks if pick.diameter]
        median = float(np.median(listed)) if listed else 0.0
        if name in stated and listed and not 1 / ALIKE <= stated[name] / median <= ALIKE:
            yield Finding(
                severity="warning", file=place, line=0, found=f"{median:g} A in {picks[0].file.name}",
                expected="about the same", fix=f"correct it, or leave it out for {median:g} A",
            )  # fmt: skip

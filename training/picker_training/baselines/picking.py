"""Picking: a tomogram's file in, the picks of a baseline out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from picker_runtime.atomic import write_text
from picker_runtime.detections import Detections
from picker_runtime.errors import InputError, UsageError
from picker_runtime.formats import FormatContext
from picker_runtime.formats.csv import render
from picker_runtime.geometry import Box
from picker_runtime.intensity import NormalisedSource, measure
from picker_runtime.tomogram import MODEL_TOLERANCE, Tomogram
from picker_training.baselines.blobs import BlobFilter, find_blobs
from picker_training.baselines.correlation import Mixtures
from picker_training.baselines.selection import Known, candidates_of, pick_at, tune_thresholds
from picker_training.baselines.template_matching import Matching, Progress, match_templates
from picker_training.datasets.shrec import read_truth
from picker_training.datasets.training_volume import training_volume
from picker_training.device import choose_device, has_bfloat16
from picker_training.simulator.microscope import Microscope
from picker_training.simulator.presets import SHREC2020_CLASSES
from picker_training.simulator.templates import Template, load_templates

TEMPLATE_MATCHING = "template-matching"
METHODS = (TEMPLATE_MATCHING, *(kind.value for kind in BlobFilter))
"""Names of the baselines."""


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A tomogram in memory, `(d, h, w) float32`, median 0, scale 1, with its voxel size in angstrom."""

    values: Tensor
    voxel_size: float


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """One method with all it needs to find candidates; peaks of template matching are kept in folders.

    method: one of `METHODS`. matching, device, progress: of template matching; the blob filters need none.
    """

    method: str
    templates: Sequence[Template]
    matching: Matching
    device: torch.device
    progress: Progress = lambda name, done, total: None

    @property
    def diameters_angstrom(self) -> list[float]:
        """Diameter of every class."""
        return [template.diameter_angstrom for template in self.templates]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(template.name for template in self.templates)

    def candidates(self, volume: Volume, folder: Path) -> Detections:
        """Return the candidates of all classes; what a folder holds of the same search is not searched again."""
        if self.method == TEMPLATE_MATCHING:
            mixtures = Mixtures.single(volume.values)
            (peaks,) = match_templates(
                mixtures, self.templates, volume.voxel_size, self.matching,
                folder=folder, device=self.device, progress=self.progress,
            )  # fmt: skip
        else:
            kind = BlobFilter(self.method)
            (peaks,) = find_blobs(volume.values.numpy(), self.diameters_angstrom, volume.voxel_size, kind)
        return candidates_of(peaks, self.diameters_angstrom)

    def calibrated(self, model_folder: Path, voxel_size: float, folder: Path) -> dict[str, float]:
        """Return the thresholds that suit a tomogram whose truth is known, a folder in SHREC layout, by class.

        Particles of classes that are not picked are left out, and candidates outside the slab that the truth covers.

        Raises:
            InputError: E10 to E46 if the tomogram or the truth cannot be used, or holds no particle of the classes.
            UsageError: E80 if its voxel size is another.
        """
        whole = training_volume(model_folder)
        truth = whole.placed(read_truth(model_folder))
        volume = read_volume(whole.path)
        if abs(volume.voxel_size / voxel_size - 1) > MODEL_TOLERANCE:
            problem = f"its voxel size is {volume.voxel_size:.4g} A, the tomogram's {voxel_size:.4g} A"
            raise UsageError(80, "--calibration", problem, "calibrate on a tomogram of the same voxel size")
        names = [name.lower() for name in truth.names]
        mine = np.array([name in self.class_names for name in names], np.bool_)
        if not mine.any():
            problem = f"lists no particle of {', '.join(self.class_names)}"
            raise InputError(46, model_folder.name, problem, "calibrate on a tomogram that holds some")
        candidates = self.candidates(volume, folder)
        known = Known(
            candidates=candidates.select(whole.slab.contains(candidates.positions)),
            positions=truth.positions[mine],
            class_ids=np.array([self.class_names.index(n) for n in names if n in self.class_names], np.intp),
        )
        thresholds = tune_thresholds([known], np.array(self.diameters_angstrom), voxel_size)
        return dict(zip(self.class_names, thresholds.tolist(), strict=True))


def prepare(
    method: str,
    templates: Path,
    classes: Sequence[str] | None,
    *,
    rotations: int,
    tilt_range: tuple[float, float],
    tilts: int,
    defocus_um: float,
    device: str,
    progress: Progress = lambda name, done, total: None,
) -> Baseline:
    """Return a baseline from what a command line says; classes default to the twelve of SHREC 2020.

    Raises:
        UsageError: E80 if the tilts make no sense, E84 if there is no template for a class.
        EngineError: E60 if a GPU was asked for and there is none.
    """
    first, last = tilt_range
    if not -90.0 < first < last < 90.0:
        problem = f"{first:g} to {last:g} degrees is no range within -90 to 90"
        raise UsageError(80, "--tilt-range", problem, "give first and last tilt, for example --tilt-range -60 60")
    target = choose_device(device)
    microscope = Microscope(tilts_degree=tuple(np.linspace(first, last, tilts).tolist()), defocus_um=defocus_um)
    return Baseline(
        method=method,
        templates=load_templates(templates, tuple(classes or SHREC2020_CLASSES)),
        matching=Matching(microscope=microscope, rotations=rotations, half_precision=has_bfloat16(target)),
        device=target,
        progress=progress,
    )


def read_volume(path: Path, voxel_size: float | None = None) -> Volume:
    """Read a whole tomogram, non-finite voxels replaced by the median.

    Raises:
        InputError: E10 to E42 if it cannot be used as it is.
    """
    with Tomogram.open(path, voxel_size=voxel_size) as tomogram:
        intensity = measure(tomogram)
        values = NormalisedSource(tomogram, intensity).read(Box.whole(tomogram.shape))
        size = tomogram.voxel_size
    filled = np.full(tomogram.shape, intensity.center, np.float32) if values is None else values
    return Volume(values=torch.from_numpy((filled - intensity.center) / intensity.scale), voxel_size=size)


def pick_file(
    path: Path,
    output: Path,
    baseline: Baseline,
    *,
    calibration: Path | None = None,
    threshold: float,
    voxel_size: float | None = None,
) -> dict[str, tuple[float, int]]:
    """Pick one tomogram and write our CSV; returns threshold and number of picks by class.

    calibration: a folder in SHREC layout on which thresholds are chosen; without one `threshold` serves all classes.
    Peaks of template matching are kept beside the output, in `<stem>.peaks` and `<stem>.calibration-peaks`.

    Raises:
        InputError, UsageError: as `read_volume` and `Baseline.calibrated`. OutputError: E70 or E71.
    """
    volume = read_volume(path, voxel_size)
    thresholds = dict.fromkeys(baseline.class_names, threshold)
    if calibration is not None:
        folder = output.with_suffix(".calibration-peaks")
        thresholds = baseline.calibrated(calibration, volume.voxel_size, folder)
    candidates = baseline.candidates(volume, output.with_suffix(".peaks"))
    picks = pick_at(candidates, np.array([thresholds[name] for name in baseline.class_names]), volume.voxel_size)
    depth, height, width = volume.values.shape
    context = FormatContext(
        tomogram=path.stem,
        shape=(depth, height, width),
        voxel_size=volume.voxel_size,
        class_names=baseline.class_names,
    )
    write_text(output, render(picks, context))
    counts = np.bincount(picks.class_ids, minlength=len(thresholds)).tolist()
    return {name: (thresholds[name], count) for name, count in zip(thresholds, counts, strict=True)}

"""Baselines without training in a benchmark: template matching and blobs."""

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from picker_runtime.atomic import write_text
from picker_runtime.detections import Detections
from picker_runtime.geometry import Box
from picker_runtime.tomogram import Tomogram
from picker_training.baselines.blobs import BlobFilter, find_blobs
from picker_training.baselines.correlation import Mixtures
from picker_training.baselines.peaks import Peaks
from picker_training.baselines.picking import read_volume
from picker_training.baselines.selection import Known, candidates_of, pick_at, tune_thresholds
from picker_training.baselines.template_matching import Matching, match_templates
from picker_training.benchmarking.method import Method, Settings, Timing, Work
from picker_training.benchmarking.protocol import Difficulty
from picker_training.benchmarking.scenes import folder_name
from picker_training.datasets.annotated import AnnotatedVolume
from picker_training.datasets.shrec import TOMOGRAM
from picker_training.device import has_bfloat16
from picker_training.simulator.templates import Template, load_templates

ENERGY = 0.98
"""Share of the templates' variance that is kept; the scores of the peaks are those of whole templates, nearly."""

SEARCHES = "searches.json"


class PeakMethod(Method):
    """A baseline whose candidates are peaks of a score map for each class; thresholds are all that is chosen."""

    def tune(self, found: Any, truth: AnnotatedVolume) -> Settings:
        """Choose the threshold of each class."""
        known = Known(candidates=found, positions=truth.positions, class_ids=truth.class_ids.astype(np.intp))
        return {"thresholds": tune_thresholds([known], self.work.diameters_angstrom, truth.voxel_size).tolist()}

    def picks(self, found: Any, settings: Settings, voxel_size: float) -> Detections:
        """Return the peaks at or above their class's threshold that no better one overlaps."""
        return pick_at(found, np.array(settings["thresholds"]), voxel_size)


class BlobMethod(PeakMethod):
    """Blobs of each class's size, by the Laplacian of a Gaussian."""

    def search(self, folder: Path, difficulty: Difficulty) -> Detections:
        """Return the blobs of a tomogram."""
        return self._look(folder / TOMOGRAM)

    def time(self, tomogram: Path, settings: Settings) -> Timing:
        """Measure detection in a file."""
        with Tomogram.open(tomogram) as opened:
            shape, voxel_size = opened.shape, opened.voxel_size
        started = time.perf_counter()
        self.picks(self._look(tomogram), settings, voxel_size)
        return Timing(seconds=time.perf_counter() - started, voxels=math.prod(shape))

    def _look(self, path: Path) -> Detections:
        volume = read_volume(path)
        diameters = self.work.diameters_angstrom.tolist()
        (peaks,) = find_blobs(volume.values.numpy(), diameters, volume.voxel_size, BlobFilter.LOG)
        return candidates_of(peaks, diameters)


class TemplateMatchingMethod(PeakMethod):
    """Template matching; tomograms of one scene at several difficulties are searched at once.

    Its time is that of all searches over the number of tomograms searched: a search takes hours.
    """

    def __init__(self, work: Work, templates: Path) -> None:
        super().__init__(work)
        self._templates: list[Template] = load_templates(templates, work.scenes.protocol.classes)

    def search(self, folder: Path, difficulty: Difficulty) -> Detections:
        """Return the peaks in a tomogram; what was searched before is not searched again."""
        protocol = self.work.scenes.protocol
        number = protocol.difficulties.index(difficulty)
        peaks = [self._match(template, folder.parent)[number][0] for template in self._templates]
        return candidates_of(peaks, self.work.diameters_angstrom.tolist())

    def time(self, tomogram: Path, settings: Settings) -> Timing:
        """Return the mean time of the searches that were made, on voxels of the test tomogram."""
        searches = self._searches()
        protocol = self.work.scenes.protocol
        seconds = sum(searches.values()) / (len(searches) / len(self._templates)) / len(protocol.difficulties)
        return Timing(seconds=seconds, voxels=math.prod(protocol.spec.shape))

    def _match(self, template: Template, scene: Path) -> list[list[Peaks]]:
        """Return the peaks of one class in all tomograms of a scene, `[difficulty][0]`."""
        protocol = self.work.scenes.protocol
        kept = self.work.folder / "peaks" / scene.name
        name = f"{scene.name}/{template.name}"
        known = (kept / f"{template.name}.npz").exists() and name in self._searches()
        matching = Matching(
            microscope=protocol.spec.microscope, rotations=protocol.rotations, energy=ENERGY,
            half_precision=has_bfloat16(self.work.device),
        )  # fmt: skip
        started = time.perf_counter()
        found = match_templates(
            self._tomograms(scene), [template], protocol.spec.voxel_size, matching, folder=kept,
            device=self.work.device, progress=self._progress,
        )  # fmt: skip
        if not known:
            seconds = self._searches() | {name: time.perf_counter() - started}
            write_text(self.work.folder / SEARCHES, json.dumps(seconds, indent=1) + "\n")
        return found

    def _tomograms(self, scene: Path) -> Mixtures:
        """Return the tomograms of a scene, which differ in their noise alone, as mixtures of the extreme ones."""
        protocol = self.work.scenes.protocol
        deviations = [one.snr**-0.5 for one in protocol.difficulties]
        low, high = int(np.argmin(deviations)), int(np.argmax(deviations))
        if deviations[low] == deviations[high]:
            return Mixtures.single(_voxels(scene / folder_name(protocol.difficulties[low])))
        parts = [_voxels(scene / folder_name(protocol.difficulties[i])) for i in (low, high)]
        shares = [(d - deviations[low]) / (deviations[high] - deviations[low]) for d in deviations]
        return Mixtures(parts=torch.stack(parts), weights=torch.tensor([[1.0 - s, s] for s in shares]))

    def _searches(self) -> dict[str, float]:
        """Return the seconds that each search took, by scene and class."""
        path = self.work.folder / SEARCHES
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def _progress(self, name: str, done: int, total: int) -> None:
        self.work.report(f"{name}: block {done} of {total}")


def _voxels(folder: Path) -> torch.Tensor:
    with Tomogram.open(folder / TOMOGRAM) as tomogram:
        return torch.from_numpy(tomogram.read(Box.whole(tomogram.shape)))

"""Template matching: every class in thousands of orientations, one class after the other, resumable."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from picker_runtime.atomic import atomic_writer, check_writable_folder
from picker_training.baselines.correlation import Mixtures, best_correlations, fit_orientations
from picker_training.baselines.half_turns import half_turns, one_of_turned
from picker_training.baselines.peaks import Peaks, find_peaks
from picker_training.baselines.rotation_basis import make_basis
from picker_training.baselines.rotations import even_rotations
from picker_training.simulator.microscope import Microscope
from picker_training.simulator.templates import Template

PEAKS_PER_MEGAVOXEL = 300.0
"""Peaks that are kept of each class; SHREC 2020 has 53 particles of all classes together in a million voxels."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Matching:
    """How templates are matched.

    rotations: orientations of each template, about. energy: share of their variance that is kept, see
    `RotationBasis`.
    half_precision: sum over the basis in bfloat16, which finds the same peaks faster; their values are exact anyway.
    """

    microscope: Microscope = field(default_factory=Microscope)
    rotations: int = 3000
    energy: float = 0.99
    half_precision: bool = False

    def orientations(self) -> NDArray[np.float64]:
        """Return those orientations `(n, 3, 3) zyx` that half turns do not make of others."""
        return one_of_turned(even_rotations(self.rotations), half_turns(self.microscope))


def match_templates(
    tomograms: Mixtures,
    templates: Sequence[Template],
    voxel_size: float,
    matching: Matching,
    *,
    folder: Path,
    device: torch.device,
    progress: Progress = lambda name, done, total: None,
) -> list[list[Peaks]]:
    """Return the peaks of every class in every tomogram, `[tomogram][class]`.

    folder: where the peaks of each class are kept once it is done; the same call goes on after the last of them.
    progress: called with the class's name, the blocks done and the blocks in all.

    Raises:
        OutputError: E70 or E71 if the folder cannot be written.
    """
    check_writable_folder(folder)
    found = []
    for template in templates:
        path = folder / f"{template.name}.npz"
        key = _fingerprint(tomograms, template, voxel_size, matching)
        peaks = _load(path, key)
        if peaks is None:
            step = partial(progress, template.name)
            peaks = match_template(tomograms, template, voxel_size, matching, device=device, progress=step)
            _store(path, key, peaks)
        found.append(peaks)
    return [list(of_one) for of_one in zip(*found, strict=True)]


def match_template(
    tomograms: Mixtures,
    template: Template,
    voxel_size: float,
    matching: Matching,
    *,
    device: torch.device,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Peaks]:
    """Return the peaks of one class in every tomogram, with the best orientation of each."""
    basis = make_basis(template, matching.orientations(), matching.microscope, voxel_size, energy=matching.energy)
    dtype = torch.bfloat16 if matching.half_precision else torch.float32
    scores = best_correlations(tomograms, basis, device=device, dtype=dtype, progress=progress)
    most = max(1, round(PEAKS_PER_MEGAVOXEL * scores[0].numel() / 1e6))
    found = []
    for number, map_ in enumerate(scores):
        peaks = find_peaks(map_, most=most)
        values, best = fit_orientations(tomograms.tomogram(number), torch.from_numpy(peaks.positions), basis)
        found.append(replace(peaks, values=values.double().numpy(), orientations=best.numpy()))
    return found


def _fingerprint(tomograms: Mixtures, template: Template, voxel_size: float, matching: Matching) -> str:
    """Return a hash of everything that the peaks of a class depend on."""
    digest = hashlib.sha256()
    arrays = (tomograms.parts.numpy(), tomograms.weights.numpy(), template.density, matching.orientations())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    digest.update(json.dumps([template.radius_angstrom, voxel_size, asdict(matching)]).encode())
    return digest.hexdigest()


def _store(path: Path, key: str, peaks: Sequence[Peaks]) -> None:
    arrays: dict[str, Any] = {"key": np.array(key)}
    for number, one in enumerate(peaks):
        arrays |= {f"{name}_{number}": values for name, values in asdict(one).items()}
    with atomic_writer(path, "wb") as stream:
        np.savez_compressed(stream, **arrays)


def _load(path: Path, key: str) -> list[Peaks] | None:
    """Return what `_store` wrote for the same key, None where there is nothing of the kind."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return list(_unpack(arrays)) if str(arrays["key"]) == key else None
    except (OSError, ValueError, KeyError, BadZipFile):
        return None


def _unpack(arrays: np.lib.npyio.NpzFile) -> Iterator[Peaks]:
    names = ("positions", "heights", "values", "orientations")
    number = 0
    while f"positions_{number}" in arrays:
        yield Peaks(**{name: arrays[f"{name}_{number}"] for name in names})
        number += 1

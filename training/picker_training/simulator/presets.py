"""Presets: the fixed test set, the packaged sample, and the varied scenes that training draws."""

from dataclasses import dataclass, replace

import numpy as np

from picker_training.simulator.microscope import Microscope
from picker_training.simulator.scene import SceneSpec

SHREC2020_CLASSES = ("3cf3", "1s3x", "1u6g", "4cr2", "1qvr", "3h84", "2cg9", "3qm1", "3gl1", "3d2f", "4d8q", "1bxn")
"""The twelve classes of SHREC 2020, in its order (class numbers 1 to 12)."""

SHREC2020_SNR = 0.035
"""SNR at which template matching finds in our scenes what TM-F was published to find in SHREC 2020's tomogram.

Localisation F1 0.841 by the official rule, between the levels 0.03 (0.832) and 0.1 (0.900), linear in log SNR: by
`tests/benchmark/template_matching.py`, seed 7101, 416 particles; the table is in docs/baselines.md.
"""

SHREC2020_SNR_UNCERTAINTY = 0.22
"""Relative standard deviation of `SHREC2020_SNR` when particles and false picks are drawn anew."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named set of scenes: what they hold, the seeds that make them, the SNRs they are rendered at.

    strangers: templates whose particles are in the scenes but not in the truth.
    """

    spec: SceneSpec
    seeds: tuple[int, ...]
    snrs: tuple[float, ...]
    strangers: tuple[str, ...] = ()


_BENCH12 = SceneSpec(shape=(200, 512, 512), particles=2600)

PRESETS = {
    "bench12": Preset(spec=_BENCH12, seeds=(9001, 9002, 9003), snrs=(0.1, 0.05, 0.03)),
    "bench12-contaminated": Preset(
        spec=replace(_BENCH12, gold=20, vesicles=8, strangers=150),
        seeds=(9001, 9002, 9003),
        snrs=(0.1, 0.05, 0.03),
        strangers=("1f4a",),
    ),
    "sample": Preset(spec=SceneSpec(shape=(88, 160, 160), particles=115), seeds=(4711,), snrs=(0.1,)),
}
"""`bench12` is the fixed test set: SHREC 2020's classes, tilts and optics with Gaussian noise; `bench12-contaminated`
adds gold, vesicles and copies of a class that no model of ours was trained on; `sample` comes with the package."""

TRAINING_DEPTHS = (80, 96, 128, 200, 300)
"""Voxels along z: from lamellae to thick ice, in which more particles lie above one another in every image."""


def training_spec(rng: np.random.Generator, *, voxel_size: float = 10.0) -> SceneSpec:
    """Draw a varied scene: tilt range and step, optics, noise, thickness, crowding, contaminants, voxel size."""
    limit = rng.uniform(45.0, 66.0)
    tilts = np.arange(-limit, limit + 1e-6, rng.choice([1.5, 2.0, 3.0, 3.0, 4.0])) + rng.uniform(-3.0, 3.0)
    contaminated = rng.random() < 0.4
    depth = int(rng.choice(TRAINING_DEPTHS))
    microscope = Microscope(
        tilts_degree=tuple(tilts.tolist()),
        defocus_um=float(rng.uniform(1.5, 5.0)),
        amplitude_contrast=float(rng.uniform(0.06, 0.12)),
        envelope=float(rng.uniform(0.35, 0.5) if rng.random() < 0.5 else rng.uniform(0.5, 1.5)),
        phase_flipped=bool(rng.random() < 0.25),
        low_pass_angstrom=float(rng.uniform(15.0, 30.0)) if rng.random() < 0.2 else None,
        ramp_cutoff=float(rng.choice([1.0, 1.0, 0.9, 0.7])),
        dose_per_image=float(rng.uniform(80.0, 400.0)) if rng.random() < 0.4 else None,
        structural_noise=float(rng.uniform(0.0, 0.4)) if rng.random() < 0.5 else 0.0,
    )
    shape = (depth, 192, 192)
    return SceneSpec(
        shape=shape,
        particles=int(np.prod(shape) / 1e6 * rng.uniform(25.0, 75.0)),
        voxel_size=float(voxel_size * rng.uniform(0.95, 1.05)),
        gold=int(rng.integers(0, 12)) if contaminated else 0,
        vesicles=int(rng.integers(0, 4)) if contaminated else 0,
        strangers=int(rng.integers(0, 8)) if contaminated else 0,
        periodic=True,
        microscope=microscope,
    )

"""Protocols: on which scenes detectors are compared, for how long each is trained, how hard the tests are."""

import math
from dataclasses import dataclass, replace

from picker_runtime.errors import UsageError
from picker_runtime.geometry import Triple
from picker_training.simulator.presets import PRESETS, SHREC2020_CLASSES, SHREC2020_SNR
from picker_training.simulator.scene import SceneSpec

CROWDING = PRESETS["bench12"].spec
"""Optics, voxel size and particles per volume of every scene."""

POOL_SNRS = (0.02, 0.4)
"""As the pool of scenes draws them by default."""


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """An SNR at which the test tomogram is rendered, with the name that it has in the table."""

    name: str
    snr: float


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What makes two rows of a table comparable.

    classes: names of the templates. spec: of every scene. training_seeds, calibration_seed, test_seed: of the scenes.
    training_snrs: each training sample draws its own, log-uniform between these.
    difficulties: at each the calibration scene is rendered for thresholds and the test scene for scores.
    minutes: each detector trains so long. seeds: of the networks; one row each.
    paper_width: of the published network, as a part of its own. rotations: of each template that is matched.
    timing_shape: voxels of the tomogram on which seconds are measured.
    """

    name: str
    classes: tuple[str, ...] = SHREC2020_CLASSES
    spec: SceneSpec
    training_seeds: tuple[int, ...]
    calibration_seed: int
    test_seed: int
    training_snrs: tuple[float, float]
    difficulties: tuple[Difficulty, ...]
    minutes: float
    seeds: tuple[int, ...]
    paper_width: float
    rotations: int = 3000
    timing_shape: Triple = CROWDING.shape


def scene_of(shape: Triple) -> SceneSpec:
    """Return the spec of `bench12` in another shape, as crowded."""
    return replace(CROWDING, shape=shape, particles=round(CROWDING.particles * math.prod(shape) / _voxels(CROWDING)))


def find_protocol(name: str) -> Protocol:
    """Return the protocol of this name.

    Raises:
        UsageError: E80 if there is none.
    """
    if name not in PROTOCOLS:
        raise UsageError(80, f"--protocol {name}", "no such protocol", f"give one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def _voxels(spec: SceneSpec) -> int:
    return math.prod(spec.shape)


DIFFICULTIES = (
    Difficulty(name="SNR 0.1", snr=0.1),
    Difficulty(name="SNR 0.05", snr=0.05),
    Difficulty(name="SNR 0.03", snr=0.03),
    Difficulty(name="SHREC 2020 difficulty", snr=SHREC2020_SNR),
)
"""The last is the SNR at which template matching finds in our scenes what it is reported to find in SHREC 2020's."""

_SNRS = (min(POOL_SNRS[0], SHREC2020_SNR), POOL_SNRS[1])

PROTOCOLS = {
    "small": Protocol(
        name="small",
        spec=scene_of((128, 256, 256)),
        training_seeds=(6001, 6002, 6003),
        calibration_seed=6101,
        test_seed=6201,
        training_snrs=_SNRS,
        difficulties=DIFFICULTIES,
        minutes=30.0,
        seeds=(1,),
        paper_width=0.25,
    ),
    "full": Protocol(
        name="full",
        spec=CROWDING,
        training_seeds=tuple(range(6011, 6020)),
        calibration_seed=6111,
        test_seed=6211,
        training_snrs=_SNRS,
        difficulties=DIFFICULTIES,
        minutes=60.0,
        seeds=(1, 2, 3),
        paper_width=1.0,
    ),
}
"""`small` is for two CPU cores, `full` for a GPU; their scenes are nobody else's."""

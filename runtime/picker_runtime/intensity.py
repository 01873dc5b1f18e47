"""Intensity: robust statistics of a whole tomogram, and the source of voxels that engines read.

The recipe `median-mad-v1`: centre = median, scale = 1.4826 x median absolute deviation, over a sample that depends on
the shape alone, without non-finite voxels and fill. Training, evaluation and detection all use it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picker_runtime.errors import InputError
from picker_runtime.file_voxels import FileVoxels
from picker_runtime.geometry import Box, Triple
from picker_runtime.ranking import Ranking
from picker_runtime.tomogram import Tomogram

RECIPE = "median-mad-v1"
MAX_WINDOWS = 256
WINDOW_VOXELS = 65_536
MAX_NON_FINITE = 0.01
MAD_TO_SIGMA = 1.4826
"""Scale of a normal distribution over its median absolute deviation: 1 / 0.6745."""

FILL_SHARE = 0.01
FILL_EXCESS = 5
"""Fill outnumbers its neighbours by more than this. Bytes of sigma 8 about 0 with 30 % zero padding reach 9.7; rounded
noise stays under 5 down to sigma 0.5."""

NOTED_FILL = 0.3
"""Share of the fill that a user is told of: more than padding takes, as where a writer died half way."""

_GOLDEN = (5**0.5 - 1) / 2
_FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, kw_only=True)
class Intensity:
    """How bright a tomogram is and how much it varies.

    center: median. scale: standard deviation of the noise, from the median absolute deviation. Both as stored.
    non_finite_fraction: share of NaN and infinities in the sample.
    fill: the commonest value left out as padding; None where there is none. fill_fraction: its share of the sample.
    """

    center: float
    scale: float
    non_finite_fraction: float
    fill: float | None
    fill_fraction: float = 0.0


def measure(tomogram: Tomogram) -> Intensity:
    """Measure a tomogram on at most 256 windows of at most 65,536 voxels; warns on its list about what looks wrong.

    Raises:
        InputError: E41 more than 1 % of the voxels are not finite, E42 no signal.
    """
    sample = np.concatenate([tomogram.read(window).ravel() for window in windows(tomogram.shape)])
    intensity = measure_array(sample, subject=tomogram.name)
    if tomogram.sign_is_assumed and _looks_wrapped(sample, intensity.fill):
        tomogram.warnings.append("bytes read as signed look unsigned: try --mode0 unsigned")
    if intensity.fill_fraction > NOTED_FILL:
        percent = 100 * intensity.fill_fraction
        tomogram.warnings.append(
            f"{percent:.0f} % of the voxels are exactly {intensity.fill:g}: was the file written completely?"
        )
    if intensity.non_finite_fraction:
        percent = 100 * intensity.non_finite_fraction
        tomogram.warnings.append(f"{percent:.2g} % of the voxels are not finite; the median stands in for them")
    return intensity


def measure_array(values: NDArray[np.number], *, subject: str = "array") -> Intensity:
    """Measure all values of an array of any shape.

    Raises:
        InputError: E41 more than 1 % of the values are not finite, E42 no signal.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        flat = np.asarray(values).ravel().astype(np.float32, copy=False)
        is_finite = np.isfinite(flat)
        finite = flat if is_finite.all() else flat[is_finite]
        bad = 1 - finite.size / flat.size if flat.size else 1.0
        if bad > MAX_NON_FINITE:
            problem = f"{bad:.1%} of the voxels are NaN or infinite, at most {MAX_NON_FINITE:.0%} are tolerated"
            raise InputError(41, subject, problem, "reconstruct or export it again")
        kept, fill, share = _without_fill(Ranking(finite))
        if not kept.size:
            raise _no_signal(subject, f"every voxel is {finite[0]:g}")
        center = (float(kept.at((kept.size - 1) // 2)) + float(kept.at(kept.size // 2))) / 2
        scale = MAD_TO_SIGMA * _median_within_step(Ranking(np.abs(kept.values - np.float32(center))))
    if not 1 / _FLOAT32_MAX < scale < _FLOAT32_MAX:
        raise _no_signal(subject, f"the scale of its voxels is {scale:g}")
    return Intensity(center=center, scale=scale, non_finite_fraction=bad, fill=fill, fill_fraction=share)


def windows(shape: Triple) -> list[Box]:
    """Return the boxes to sample: whole rows, the whole volume where 256 windows hold it, else spread evenly."""
    nz, ny, nx = shape
    rows = min(ny, max(1, WINDOW_VOXELS // nx))
    if nz * -(-ny // rows) <= MAX_WINDOWS:
        starts = [(z, y) for z in range(nz) for y in range(0, ny, rows)]
    else:  # planes evenly, rows by the golden ratio, which no period of the volume meets
        turns = range(MAX_WINDOWS)
        starts = [((2 * i + 1) * nz // (2 * MAX_WINDOWS), int(i * _GOLDEN % 1 * (ny - rows + 1))) for i in turns]
    return [Box((z, y, 0), (z + 1, min(y + rows, ny), nx)) for z, y in starts]


class NormalisedSource:
    """A tomogram as engines read it, with the numbers that normalise it; `invert` turns bright particles dark."""

    def __init__(self, tomogram: Tomogram, intensity: Intensity, invert: bool = False) -> None:
        self.mean = intensity.center
        self.inverse_std = (-1 if invert else 1) / intensity.scale
        self._tomogram = tomogram

    def read(self, box: Box) -> NDArray[np.float32] | None:
        """Return the box's voxels as stored, `(D, H, W) float32`, non-finite ones replaced by the median.

        None where no voxel of the part inside the volume is finite.
        """
        values = self._tomogram.read(box)
        finite = np.isfinite(values)
        if finite.all():
            return values
        inside = box.intersection(Box.whole(self._tomogram.shape))
        if not finite[inside.slices_in(box)].any():
            return None
        values[~finite] = self.mean
        return values

    def raw(self) -> FileVoxels:
        """Return the voxels as a file stores them, for engines that convert them elsewhere."""
        return self._tomogram.raw()


def _without_fill(ranking: Ranking) -> tuple[Ranking, float | None, float]:
    """Leave out every exact value with over 1 % of the sample that far outnumbers both neighbouring values present.

    Also returns the commonest of them, and its share.
    """
    fills = []
    for value in ranking.commoner_than(FILL_SHARE * ranking.size):
        low, high = ranking.run(value)
        before = low - ranking.run(ranking.at(low - 1))[0] if low else 0
        after = ranking.run(ranking.at(high))[1] - high if high < ranking.size else 0
        if high - low > FILL_EXCESS * max(before, after):
            fills.append((high - low, float(value)))
    if not fills:
        return ranking, None, 0.0
    kept = Ranking(ranking.values[~np.isin(ranking.values, [value for _, value in fills])])
    count, commonest = max(fills)
    return kept, commonest, count / ranking.size


def _median_within_step(ranking: Ranking) -> float:
    """Return the median of values >= 0, equal ones spread over the step to their neighbours.

    For integers of sigma 8 the plain median is off by up to 9 %; for values without ties the two agree.
    """
    value = ranking.at(ranking.size // 2)
    low, high = ranking.run(value)
    bottom = (float(ranking.at(low - 1)) + float(value)) / 2 if low else 0.0
    top = (float(ranking.at(high)) + float(value)) / 2 if high < ranking.size else float(value)
    return bottom + (top - bottom) * float((ranking.size / 2 - low) / (high - low))


def _looks_wrapped(values: NDArray[np.float32], fill: float | None) -> bool:
    """Tell whether signed bytes crowd both ends and leave the middle empty, as unsigned ones read as signed do."""
    values = values if fill is None else values[values != fill]
    ends = min(np.count_nonzero(values >= 96), np.count_nonzero(values < -96))
    return bool(ends > np.count_nonzero(np.abs(values) < 32))


def _no_signal(subject: str, problem: str) -> InputError:
    return InputError(42, subject, f"no signal: {problem}", "check that the file was written completely")

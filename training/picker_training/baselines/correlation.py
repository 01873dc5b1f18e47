"""Correlation: how well the best orientation of a template fits around every voxel, block by block."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn import functional

from picker_runtime.geometry import Box, Triple
from picker_training.baselines.half_turns import highest_of_turned
from picker_training.baselines.rotation_basis import RotationBasis

LEAST_BLOCK_EDGE = 96
HALVES_PER_EDGE = 7
"""Edge of a block over a template's half width: larger blocks waste less on halos, smaller ones stay in the cache."""

VOXELS_AT_A_TIME, ORIENTATIONS_AT_A_TIME = 1024, 250
"""A megabyte of sums of each part: they are read several times, and so stay in the cache."""

VOLUMES_AT_A_TIME = 16
PEAKS_AT_A_TIME = 256
LEAST_VARIANCE = 1e-4
"""Of a neighbourhood, relative to the whole tomogram's: one of less is empty and correlates with next to nothing."""

BlockDone = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Mixtures:
    """Tomograms that are sums of the same few volumes, such as one scene at several noise levels.

    parts: `(p, d, h, w) float32`. weights: `(m, p) float32`; tomogram i is `weights[i] @ parts`.
    Correlation is linear, so each part is correlated once, however many tomograms there are.
    """

    parts: Tensor
    weights: Tensor

    @classmethod
    def single(cls, tomogram: Tensor) -> "Mixtures":
        """Return one tomogram `(d, h, w)`, as it is."""
        return cls(parts=tomogram[None], weights=torch.ones(1, 1))

    @property
    def shape(self) -> Triple:
        """Voxels of a tomogram, zyx."""
        depth, height, width = self.parts.shape[1:]
        return depth, height, width

    def __len__(self) -> int:
        return len(self.weights)

    def tomogram(self, number: int) -> Tensor:
        """Return tomogram `number`, `(d, h, w)`."""
        mixed: Tensor = torch.tensordot(self.weights[number], self.parts, dims=1)
        return mixed


def best_correlations(
    tomograms: Mixtures,
    basis: RotationBasis,
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    progress: BlockDone = lambda done, total: None,
) -> Tensor:
    """Return the highest normalised correlation over all orientations at every voxel, `(m, d, h, w) float32`, -1..1.

    Normalised by the deviation under the spherical mask around the voxel; outside the volume its mean goes on.

    dtype: of the sums over the basis, which take most of the time; bfloat16 is off by at most 0.5 % of a score.
    """
    half = basis.half
    means = tomograms.parts.mean(dim=(1, 2, 3), keepdim=True)
    padded = functional.pad(tomograms.parts - means, (half,) * 6)
    mixing = tomograms.weights.to(device)
    least = [LEAST_VARIANCE * float(tomograms.tomogram(i).var()) for i in range(len(tomograms))]
    matcher = _BlockMatcher(basis, device, dtype)
    out = torch.empty(len(tomograms), *tomograms.shape)
    core_edge = max(LEAST_BLOCK_EDGE, HALVES_PER_EDGE * half) - 2 * half
    cores = Box.whole(tomograms.shape).parts((core_edge, core_edge, core_edge))
    for done, core in enumerate(cores, start=1):
        z, y, x = (slice(a, b + 2 * half) for a, b in zip(core.start, core.stop, strict=True))
        found = matcher.match(padded[:, z, y, x].to(device), mixing, least)
        out[(slice(None), *core.slices)] = found.cpu()
        progress(done, len(cores))
    return out


def fit_orientations(tomogram: Tensor, places: Tensor, basis: RotationBasis) -> tuple[Tensor, Tensor]:
    """Return the best correlation at some voxels `(n,) float32`, in full precision, and its orientation `(n,) int64`.

    tomogram: `(d, h, w)`. places: `(n, 3) int64, zyx`.
    """
    half, edge = basis.half, basis.mask.shape[0]
    padded = functional.pad(tomogram - tomogram.mean(), (half,) * 6)
    inside = basis.mask.reshape(-1) > 0
    volumes, weights = basis.volumes.reshape(len(basis.volumes), -1)[:, inside], basis.all_weights
    step = torch.arange(edge)
    least = LEAST_VARIANCE * float(tomogram.var())
    scores, orientations = [torch.zeros(0)], [torch.zeros(0, dtype=torch.int64)]
    for some in torch.split(places, PEAKS_AT_A_TIME) if len(places) else ():
        z, y, x = (some[:, axis, None] + step for axis in range(3))
        cubes = padded[z[:, :, None, None], y[:, None, :, None], x[:, None, None, :]]
        values = cubes.reshape(len(some), edge**3)[:, inside]
        scale = (values.var(dim=1, correction=0).clamp(min=least) * values.shape[1]).sqrt()
        best = (values @ volumes.T @ weights.T / scale[:, None]).max(dim=1)
        scores.append(best.values)
        orientations.append(best.indices)
    return torch.cat(scores), torch.cat(orientations)


class _BlockMatcher:
    """Correlates blocks with one basis; keeps the basis's spectra for the block size last met."""

    def __init__(self, basis: RotationBasis, device: torch.device, dtype: torch.dtype) -> None:
        self._volumes = basis.volumes.to(device)
        self._mask = basis.mask.to(device)
        self._count = float(basis.mask.sum())
        self._weights = basis.weights.to(device, dtype)
        self._sizes = list(basis.sizes)
        self._size: Triple | None = None

    def match(self, block: Tensor, mixing: Tensor, least: Sequence[float]) -> Tensor:
        """Return the best correlations `(m, d, h, w)` of the core of a block `(p, d + 2 half, ...)`.

        least: local variance below which a neighbourhood is empty, of each tomogram.
        """
        depth, height, width = (n - self._mask.shape[0] + 1 for n in block.shape[1:])
        self._prepare((block.shape[1], block.shape[2], block.shape[3]))
        coefficients = self._correlate(block, self._spectra).flatten(start_dim=2)  # (p, k, voxels)
        out = self._search(coefficients, mixing).reshape(-1, depth, height, width)
        for best, weights, floor in zip(out, mixing, least, strict=True):
            variance = self._local_variance(torch.tensordot(weights, block, dims=1))
            best /= (variance.clamp(min=floor) * self._count).sqrt()
        return out

    def _prepare(self, size: Triple) -> None:
        if size != self._size:
            self._size = size
            self._fast = tuple(next_fast_len(n, real=True) for n in size)
            self._spectra = torch.fft.rfftn(self._volumes, s=self._fast, dim=(1, 2, 3)).conj()
            self._mask_spectrum = torch.fft.rfftn(self._mask[None], s=self._fast, dim=(1, 2, 3)).conj()

    def _correlate(self, volumes: Tensor, kernels: Tensor) -> Tensor:
        """Return the correlation of every volume `(p, ...)` with every kernel `(k, ...)`: `(p, k, ...)`."""
        spectra = torch.fft.rfftn(volumes, s=self._fast, dim=(1, 2, 3))[:, None]
        z, y, x = (n - self._mask.shape[0] + 1 for n in volumes.shape[1:])
        parts = [
            torch.fft.irfftn(spectra * some, s=self._fast, dim=(2, 3, 4))[..., :z, :y, :x]
            for some in torch.split(kernels, VOLUMES_AT_A_TIME)
        ]
        return torch.cat(parts, dim=1)

    def _search(self, coefficients: Tensor, mixing: Tensor) -> Tensor:
        """Return the highest sum over the basis among all orientations, `(m, voxels) float32`."""
        out = torch.full((len(mixing), coefficients.shape[2]), -torch.inf, device=coefficients.device)
        shares, step = mixing.tolist(), max(1, ORIENTATIONS_AT_A_TIME // len(self._sizes))

        def search(start: int) -> None:
            columns = slice(start, start + VOXELS_AT_A_TIME)
            some, best = coefficients[:, :, columns].to(self._weights.dtype), out[:, columns]
            by_parity = [part.contiguous() for part in torch.split(some, self._sizes, dim=1)]
            memory = some.new_empty(len(some), len(self._sizes), step, some.shape[2])
            for weights in torch.split(self._weights, step):
                parts = self._parities(weights, by_parity, memory[:, :, : len(weights)])
                for number, share in enumerate(shares):
                    highest = highest_of_turned(_mixed(share, parts)).amax(dim=0)
                    torch.maximum(best[number], highest, out=best[number])

        starts = range(0, coefficients.shape[2], VOXELS_AT_A_TIME)
        side_by_side(search, starts, 1 if out.is_cuda else torch.get_num_threads())
        return out

    def _parities(self, weights: Tensor, by_parity: Sequence[Tensor], memory: Tensor) -> Tensor:
        """Return the even and odd parts of the sums of some orientations `(n, k)`, `(p, g, n, voxels) float32`.

        memory: for these, used again and again, since the system takes its time to hand out any.
        """
        for number, own in enumerate(torch.split(weights, self._sizes, dim=1)):
            for part, volumes in enumerate(by_parity[number]):
                torch.mm(own, volumes, out=memory[part, number])
        return memory.float()

    def _local_variance(self, block: Tensor) -> Tensor:
        """Return the variance under the mask around every voxel of the core."""
        mean, square = self._correlate(torch.stack([block, block**2]), self._mask_spectrum)[:, 0] / self._count
        variance: Tensor = square - mean**2
        return variance


def side_by_side(work: Callable[[int], None], items: Iterable[int], threads: int) -> None:
    """Do the work for every item, in so many threads of one core each: many small products are done faster so."""
    if threads == 1:
        for item in items:
            work(item)
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            deque(pool.map(work, items), maxlen=0)
    finally:
        torch.set_num_threads(threads)  # part of what was set holds for the whole process


def _mixed(weights: Sequence[float], parts: Tensor) -> Tensor:
    """Return the weighted sum of parts; those that weigh nothing are not read."""
    weighty = [(weight, part) for weight, part in zip(weights, parts, strict=True) if weight]
    (weight, part), *others = weighty or [(0.0, parts[0])]
    mixed: Tensor = part if weight == 1 else part * weight
    for weight, part in others:
        mixed = torch.add(mixed, part, alpha=weight)
    return mixed

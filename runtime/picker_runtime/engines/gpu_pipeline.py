"""The engine on a GPU: file bytes stream to the device, cubes are cut there, only candidates come back.

Two batches are in flight: while the device works on one, the next is enqueued and the last one's candidates are taken.
The volume's upload goes on meanwhile, and after it that of the next volume. Where memory is short, first the batch is
halved, then the volume passes through in slabs, then `TileTooLarge` asks for smaller tiles.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from types import TracebackType
from typing import Self

from picker_runtime.engines.base import Candidates, RawSource, Source, TileTooLarge
from picker_runtime.engines.cutting import CuttingDevice, order
from picker_runtime.engines.device import DeviceMemoryError, Shape
from picker_runtime.engines.rigs import OpenNetwork, Rig, Rigs, Say
from picker_runtime.engines.sizing import Batch, Size, batches, good_batch, least_planes, sizes
from picker_runtime.engines.slots import Slot
from picker_runtime.engines.uploading import Residency, Uploader
from picker_runtime.errors import EngineError
from picker_runtime.file_voxels import FileVoxels
from picker_runtime.geometry import Triple
from picker_runtime.tiling import Tile

SPARE_SHARE, MOST_SPARE = 0.05, 512 << 20
"""Share of the device's memory, and bytes at most, that volumes leave free for what libraries take when they run."""

InFlight = deque[tuple[Slot, Batch]]


class GpuPipeline:
    """Runs a network on a device; a context manager.

    open_device: makes the device, when entered. open_network: makes the network of a shape, when first needed.
    batch: most cubes at a time; None for as many as keep the device busy and fit.
    say: told what takes long, and "" whenever the upload moves on.
    warnings: what a user should know, added to as it happens.
    """

    def __init__(
        self,
        name: str,
        *,
        open_device: Callable[[], CuttingDevice],
        open_network: OpenNetwork,
        batch: int | None = None,
        say: Say = lambda line: None,
    ) -> None:
        self.name = name
        self.warnings: list[str] = []
        self.say = say
        self._open_device = open_device
        self._open_network = open_network
        self._batch = batch

    def __enter__(self) -> Self:
        self._device = self._open_device()
        self._rigs = Rigs(self._device, self._open_network, self.say)
        self._limits: dict[Shape, int] = {}  # batches, by the cube's shape, smaller once they were found not to fit
        self._too_large: set[Shape] = set()
        self._resident: Residency | None = None
        self._following: Residency | None = None
        self._announced: FileVoxels | None = None
        try:
            self._uploader = Uploader(self._device, lambda: self.say(""))
        except BaseException:
            self._device.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._announced is not None:
                self._announced.close()
            self._rigs.close()
            self._uploader.close()
        finally:
            self._device.close()

    def prefetch(self, voxels: FileVoxels) -> None:
        """Announce the tomogram after the one that is streamed next: its upload follows that one's, if it fits.

        Its file may be closed meanwhile.
        """
        if self._announced is not None:
            self._announced.close()
        self._announced = voxels.duplicate()

    def stream(self, source: Source, tiles: Iterable[Tile]) -> Iterator[tuple[Tile, Candidates]]:
        """Yield every tile once with its candidates, in the order given; a tile without a finite voxel has none.

        Raises:
            TileTooLarge: if one tile alone does not fit in the device's memory.
            InputError: E12, E13 if the file cannot be read. EngineError: E61 if the device or the library fails.
        """
        if not isinstance(source, RawSource):
            raise EngineError(61, self.name, "the voxels come from no file", "use --engine openvino")
        for _, alike in groupby(tiles, key=lambda tile: tile.cube.shape):
            yield from self._of_one_shape(source, deque(alike))

    def _of_one_shape(self, source: RawSource, pending: deque[Tile]) -> Iterator[tuple[Tile, Candidates]]:
        """Yield tiles of one shape with their candidates, with less and less memory until it suffices."""
        edges, voxels = pending[0].cube.shape, source.raw()
        if edges in self._too_large:
            raise TileTooLarge(edges)
        depth, batch = voxels.shape[0], self._batch_for(edges, len(pending))
        first, *left = sizes(batch=batch, depth=depth, least_planes=least_planes(pending, depth))
        size, told = first, first
        while True:
            cubes = (size.batch, 1, *edges)
            try:
                residency = self._reside(voxels, size.planes)
                rig = self._rigs.get(cubes)
                for tile, candidates in self._flow(rig, residency, source, batches(tuple(pending), size, depth=depth)):
                    told = self._tell(size, told, edges)
                    pending.popleft()
                    yield tile, candidates
                return
            except DeviceMemoryError as error:
                if self._drop_spare(cubes):
                    continue
                if not left:
                    self._too_large.add(edges)
                    raise TileTooLarge(edges) from error
                if left[0].batch < size.batch:
                    self._rigs.close()
                size = left.pop(0)

    def _batch_for(self, edges: Triple, tiles: int) -> int:
        """Return how many cubes of these edges to try at a time, always the same: engines are built for it."""
        if edges not in self._limits:
            free = self._device.memory_info().free
            self._limits[edges] = self._batch or good_batch(tiles, math.prod(edges), free=free)
        return self._limits[edges]

    def _flow(
        self, rig: Rig, residency: Residency, source: RawSource, work: Iterable[Batch]
    ) -> Iterator[tuple[Tile, Candidates]]:
        """Keep the slots busy with batches and yield what comes out, in order."""
        flying: InFlight = deque()
        idle = deque(rig.slots)
        try:
            for batch in work:
                landed: list[tuple[Tile, Candidates]] = []
                while flying and not (idle and residency.reaches(_floor(flying, batch), batch.high)):
                    landed += _land(flying, idle)
                self._uploader.move(residency, _floor(flying, batch))
                self._submit(idle[0], residency, source, batch)
                flying.append((idle.popleft(), batch))
                self._follow()
                yield from landed
            while flying:
                yield from _land(flying, idle)
        finally:
            for slot in rig.slots:  # also one whose submission failed
                slot.wait()

    def _submit(self, slot: Slot, residency: Residency, source: RawSource, batch: Batch) -> None:
        self._device.wait_event(slot.stream, residency.wait(batch.high))
        orders = [
            order(
                residency.voxels,
                volume=residency.buffer,
                ring=residency.planes,
                start=tile.cube.start,
                filler=source.mean,
            )
            for tile in batch.tiles
        ]
        slot.submit(orders, mean=source.mean, inverse_std=source.inverse_std)

    def _reside(self, voxels: FileVoxels, planes: int) -> Residency:
        """Return these voxels' residency: the one that is there, the one that was announced, or a new one."""
        known = [one for one in (self._resident, self._following) if one is not None and one.error is None]
        found = next((one for one in known if (one.identity, one.planes) == (voxels.identity, planes)), None)
        if found is None or found is not self._resident:
            self._drop_resident()
        if found is None:
            self._drop_following()
            self._check_room(voxels, planes)
            found = self._uploader.start(voxels, planes)
        elif found is self._following:
            self._following = None
        self._resident = found
        return found

    def _follow(self) -> None:
        """Begin the upload of the announced tomogram if all of it fits; else let its file be read ahead."""
        voxels, self._announced = self._announced, None
        if voxels is None:
            return
        try:
            self._drop_following()
            self._check_room(voxels, voxels.shape[0])
            self._following = self._uploader.start(voxels, voxels.shape[0])
        except DeviceMemoryError:
            voxels.read_soon()
        finally:
            voxels.close()

    def _check_room(self, voxels: FileVoxels, planes: int) -> None:
        memory = self._device.memory_info()
        if planes * voxels.shape[1] * voxels.row_bytes > memory.free - min(SPARE_SHARE * memory.total, MOST_SPARE):
            raise DeviceMemoryError("a volume would leave too little memory free")

    def _drop_spare(self, cubes: Shape) -> bool:
        """Free what is there for later only; tell whether anything was."""
        spare = self._rigs.drop_others(cubes) or self._following is not None
        self._drop_following()
        return spare

    def _drop_following(self) -> None:
        following, self._following = self._following, None
        if following is not None:
            self._uploader.finish(following)

    def _drop_resident(self) -> None:
        resident, self._resident = self._resident, None
        if resident is not None:
            self._uploader.finish(resident)

    def _tell(self, size: Size, told: Size, edges: Triple) -> Size:
        """Say what there is to say, once which size was found to fit, and remember its batch; return what was said."""
        self.warnings += self._rigs.notes
        self._rigs.notes.clear()
        if size != told:
            self.warnings.append(f"GPU memory is short: {size}")
            if size.whole:
                self._limits[edges] = size.batch
        return size


def _floor(flying: InFlight, batch: Batch) -> int:
    """Return the lowest plane that batches in flight and the next one read."""
    return min([batch.low, *(other.low for _, other in flying)])


def _land(flying: InFlight, idle: deque[Slot]) -> list[tuple[Tile, Candidates]]:
    """Take the candidates of the batch that has been in flight the longest."""
    slot, batch = flying.popleft()
    idle.append(slot)
    return list(zip(batch.tiles, slot.take(len(batch.tiles)), strict=True))

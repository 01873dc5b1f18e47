"""Uploading: a volume's bytes from its file to the device by a thread, through page-locked buffers, while engines work.

A `Residency` is a volume on the device: a ring of planes, plane z at position `z % planes`. A ring as long as the
volume holds it whole; a shorter one is a slab that moves along z with the tiles.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle

from picker_runtime.engines.device import Device
from picker_runtime.file_voxels import FileVoxels

STAGING_BYTES = 8 << 20
"""Size of a page-locked buffer; one is read into while another is copied to the device."""

STAGING_BUFFERS = 3


class Residency:
    """A volume's planes on the device, in the file's own type; made and closed by an `Uploader`.

    planes: length of the ring. Planes are filled in ascending order, never beyond `floor + planes`.

    Raises:
        DeviceMemoryError: if there is no room for the ring.
    """

    def __init__(self, device: Device, voxels: FileVoxels, planes: int) -> None:
        self.planes = planes
        self.buffer = device.allocate(planes * voxels.shape[1] * voxels.row_bytes)
        self.identity = voxels.identity
        self.voxels = voxels.duplicate()
        self.error: BaseException | None = None
        self.event: int | None = None
        self.changed = threading.Condition()
        self._floor = 0  # planes from here on are needed
        self._start = 0  # in rows: where the filling began,
        self._claimed = 0  # how far it is under way,
        self._loaded = 0  # and how far copies are enqueued
        self._cancelled = False
        self._idle = False  # whether its filling has ended

    @property
    def is_whole(self) -> bool:
        """Whether the ring holds all planes."""
        return self.planes == self.voxels.shape[0]

    def reaches(self, low: int, high: int) -> bool:
        """Tell whether planes low..high-1 can be there together without filling the ring anew."""
        with self.changed:
            return high - low <= self.planes and low * self._height >= self._kept_from()

    def move(self, floor: int) -> bool:
        """Give up the planes below `floor`; tell whether filling must be begun again, since it had ended.

        Where `reaches` says no, the ring is filled anew from `floor` on: nothing enqueued may still read it.
        """
        with self.changed:
            row = floor * self._height
            ahead = not self.is_whole and row > self._claimed
            anew = row < self._kept_from() or ahead
            if anew:
                self._start = self._claimed = self._loaded = row
            self._floor = floor
            begin, self._idle = anew and self._idle, self._idle and not anew
            self.changed.notify_all()
            return begin

    def wait(self, high: int) -> int:
        """Wait until copies of all planes below `high` are enqueued; return an event that happens after them.

        Raises:
            InputError: E12, E13 as reading the file does. EngineError: E61 if copying failed.
        """
        with self.changed:
            self.changed.wait_for(lambda: self.error is not None or self._loaded >= high * self._height)
            if self.error is not None:
                raise self.error
            if self.event is None:
                raise RuntimeError("planes were said to be enqueued without an event")
            return self.event

    def claim(self, most_rows: int) -> tuple[int, int] | None:
        """Return first row and number of rows to fill next, once there is room; None when there is no more to do."""
        ring = self.planes * self._height
        with self.changed:
            self.changed.wait_for(lambda: self._cancelled or self._is_filled() or self._room() > 0)
            if self._cancelled or self._is_filled():
                self._idle = True
                return None
            first = self._claimed
            self._claimed += min(most_rows, self._room(), ring - first % ring)
            return first, self._claimed - first

    def enqueued(self, first: int, count: int, event: int) -> None:
        """Note that rows are on their way and that `event` happens when they are there."""
        with self.changed:
            if first == self._loaded and first + count == self._claimed:  # else the ring is being filled anew
                self._loaded = self._claimed
                self.event = event
                self.changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Hand an error to whoever waits."""
        with self.changed:
            self.error = error
            self.changed.notify_all()

    def cancel(self) -> None:
        """End the filling."""
        with self.changed:
            self._cancelled = True
            self.changed.notify_all()

    @property
    def _height(self) -> int:
        return self.voxels.shape[1]

    def _kept_from(self) -> int:
        return max(self._start, self._claimed - self.planes * self._height)

    def _room(self) -> int:
        return min(self.voxels.rows, (self._floor + self.planes) * self._height) - self._claimed

    def _is_filled(self) -> bool:
        return self._claimed >= self.voxels.rows


class Uploader:
    """One thread that fills residencies in turn; free it with `close`.

    beat: called after every piece, on that thread: bytes are moving.
    """

    def __init__(self, device: Device, beat: Callable[[], None]) -> None:
        self._device = device
        self._beat = beat
        self._fillings: dict[Residency, Future[None]] = {}
        with ExitStack() as undo:
            self._stream = device.create_stream()
            undo.callback(device.destroy_stream, self._stream)
            self._staging = []
            for _ in range(STAGING_BUFFERS):
                buffer = device.allocate_pinned(STAGING_BYTES)
                undo.callback(device.free_pinned, buffer)
                event = device.create_event()
                undo.callback(device.destroy_event, event)
                self._staging.append((buffer, event))
            self._undo = undo.pop_all()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="uploader")

    def start(self, voxels: FileVoxels, planes: int) -> Residency:
        """Return a residency whose filling has begun, or begins when those before it are filled.

        Raises:
            DeviceMemoryError: if there is no room for it.
        """
        residency = Residency(self._device, voxels, planes)
        self._fillings[residency] = self._thread.submit(self._fill, residency)
        return residency

    def move(self, residency: Residency, floor: int) -> None:
        """Let a residency's ring give up the planes below `floor`; nothing enqueued reads them any more."""
        if residency.move(floor):
            self._fillings[residency] = self._thread.submit(self._fill, residency)

    def finish(self, residency: Residency) -> None:
        """End a residency's filling and free its memory; nothing enqueued reads it any more."""
        residency.cancel()
        filling = self._fillings.pop(residency)
        if not filling.cancel():
            filling.result()
        self._device.synchronise(self._stream)
        self._device.free(residency.buffer)
        residency.voxels.close()

    def close(self) -> None:
        """Free all residencies, the thread and its buffers."""
        for residency in list(self._fillings):
            self.finish(residency)
        self._thread.shutdown()
        self._undo.close()

    def _fill(self, residency: Residency) -> None:
        try:
            self._copy(residency)
        except BaseException as error:
            residency.fail(error)

    def _copy(self, residency: Residency) -> None:
        device, voxels = self._device, residency.voxels
        ring = residency.planes * voxels.shape[1]
        for buffer, event in cycle(self._staging):
            claimed = residency.claim(max(1, STAGING_BYTES // voxels.row_bytes))
            if claimed is None:
                return
            first, count = claimed
            nbytes = count * voxels.row_bytes
            device.synchronise_event(event)  # the buffer's last copy has read it
            voxels.fill(buffer.array[:nbytes], first_row=first)
            at = first % ring * voxels.row_bytes
            device.copy_to_device_async(buffer, residency.buffer, nbytes, stream=self._stream, at=at)
            device.record_event(event, self._stream)
            residency.enqueued(first, count, event)
            self._beat()

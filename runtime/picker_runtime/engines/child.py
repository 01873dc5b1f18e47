"""An engine in a process of its own, so that what kills or hangs it costs one tomogram at most."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import numpy as np

from picker_runtime.engines.base import Candidates, RawSource, Source, TileTooLarge
from picker_runtime.engines.engine_process import EngineProcess, ProcessLost
from picker_runtime.engines.messages import Message
from picker_runtime.errors import EngineError, PickerError
from picker_runtime.file_voxels import FileVoxels
from picker_runtime.tiling import Tile

SILENCE_SECONDS = 300.0
"""After so long without a sign of progress (tiles done, bytes uploaded, steps of a build) the process counts as hung.
One step of a build can take minutes."""

OPENING_SECONDS = 300.0
"""So long a process may take to start and to open its engine without a word."""


class ChildEngine:
    """An engine that runs in a child process; a context manager, to be used by one thread.

    name: as users write it. factory: "module:function" that gives the engine in the child, from `arguments` (JSON)
    and `say`. silence: seconds without progress after which the child counts as hung. say: told what takes long.
    warnings: what a user should know, added to as it happens.
    """

    def __init__(
        self,
        name: str,
        *,
        factory: str,
        arguments: dict[str, Any],
        silence: float = SILENCE_SECONDS,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.name = name
        self.warnings: list[str] = []
        self.say = say
        self._opening = {"factory": factory, "arguments": arguments}
        self._silence = silence
        self._process: EngineProcess | None = None

    def __enter__(self) -> Self:
        self._twice(self._open)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(gently=error is None)

    def prefetch(self, voxels: FileVoxels) -> None:
        """Announce the tomogram after the one that is streamed next; its file may be closed meanwhile."""
        if self._process is not None:
            with suppress(ProcessLost):  # the next stream notices
                self._process.send("prefetch", descriptor=voxels.descriptor, **_description(voxels))

    def stream(self, source: Source, tiles: Iterable[Tile]) -> Iterator[tuple[Tile, Candidates]]:
        """Yield every tile once with its candidates, in the order given; a lost process is replaced once.

        Raises:
            TileTooLarge: if there is no memory for the next tile.
            EngineError: E63 if the process is lost twice, E60 or E62 as opening. InputError, ModelError: as the engine.
        """
        if not isinstance(source, RawSource):
            raise EngineError(61, self.name, "the voxels come from no file", "use --engine openvino")
        waiting = list(tiles)
        done, lost = 0, False
        while done < len(waiting):
            try:
                for candidates in self._answers(source, waiting[done:]):
                    done += 1
                    yield waiting[done - 1], candidates
            except ProcessLost as loss:
                if lost:
                    raise self._failure(loss) from loss
                lost = True
                self.warnings.append(f"the process of {self.name} {loss}; a new one did the rest")

    def _answers(self, source: RawSource, tiles: list[Tile]) -> Iterator[Candidates]:
        """Yield the candidates of tiles as they come; the process is ended unless it has told how it all ended."""
        settled = False
        try:
            process = self._open()
            voxels = source.raw()
            cubes = [(tile.cube.start, tile.cube.stop) for tile in tiles]
            process.send(
                "stream",
                descriptor=voxels.descriptor,
                mean=source.mean,
                inverse_std=source.inverse_std,
                cubes=cubes,
                **_description(voxels),
            )
            for _ in tiles:
                yield _candidates(process.answer("found"))
            self.warnings += process.answer("done").fields["warnings"]
            settled = True
        except (PickerError, TileTooLarge):
            settled = True
            raise
        finally:
            if not settled:
                self._end(gently=False)

    def _open(self) -> EngineProcess:
        """Return the process, started if need be, with its engine open."""
        if self._process is None:
            self._process = EngineProcess(self._silence, self.say, self.warnings)
            try:
                self._process.send("open", **self._opening)
                self._process.answer("ready", patience=OPENING_SECONDS)
            except BaseException:
                self._end(gently=False)
                raise
        return self._process

    def _twice(self, work: Callable[[], object]) -> None:
        try:
            work()
        except ProcessLost:
            try:
                work()
            except ProcessLost as loss:
                raise self._failure(loss) from loss

    def _failure(self, loss: ProcessLost) -> EngineError:
        fix = "see what `picker-runtime doctor` says of the GPU, or use --engine openvino"
        return EngineError(63, self.name, f"its process was lost twice: the last one {loss}", fix)

    def _end(self, *, gently: bool) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end(gently=gently)


def _description(voxels: FileVoxels) -> dict[str, Any]:
    return {"name": voxels.name, "offset": voxels.offset, "shape": voxels.shape, "dtype": voxels.dtype.str}


def _candidates(message: Message) -> Candidates:
    centers, diameters, scores, class_ids = (np.array(array) for array in message.arrays)
    return Candidates(centers=centers, diameters=diameters, scores=scores, class_ids=class_ids)

"""The detector: a tomogram in, picks out; everything `picker-runtime detect` does but reading options and writing."""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from picker_runtime.bundle import GRAPH, Bundle
from picker_runtime.detections import Detections
from picker_runtime.engines import open_engine
from picker_runtime.engines.base import Prefetching
from picker_runtime.engines.choice import choose_both, versions
from picker_runtime.errors import EngineError, InputError, UsageError
from picker_runtime.geometry import Triple
from picker_runtime.intensity import Intensity
from picker_runtime.mask import Mask
from picker_runtime.mrc import ByteSign, MrcFile
from picker_runtime.nms import pick
from picker_runtime.records import DetectionRecord, ModelRecord, TomogramRecord
from picker_runtime.scanning import Scanner, Stages
from picker_runtime.thresholds import as_array, of_classes, resolve
from picker_runtime.tomogram import Tomogram, check_model_voxel_size
from picker_runtime.worker import Progress

Volume = str | os.PathLike[str] | NDArray[Any]
"""A tomogram or a mask: the path of an MRC file, or an array `(z, y, x)`."""

NOTED_DIFFERENCE = 1e-3
"""Relative difference of the voxel size from the model's that a user is told of."""


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What was found in one tomogram.

    picks: at or above the thresholds and free of doubles, best first.
    candidates: all at or above the model's floor, doubles at seams included, best first.
    Both are rounded as files hold them: `nms.pick` of the candidates gives these picks again.
    """

    picks: Detections
    candidates: Detections
    record: DetectionRecord
    class_names: tuple[str, ...]


class Picker:
    """A model ready to detect in many tomograms; a context manager, or free it with `close`.

    model: name of a bundled model, or a model's folder; a `Path` is a folder always.
    engine: a name in `engines.ENGINES` or `engines.GPU_ENGINES`, or "auto"; `choice` says what that took, and why.
    precision: "fp32", "fp16", "int8" or "auto": float32 on CPUs, float16 on GPUs where the model has it.
    threads: None for all that the process may use. say: told what takes long, as building a GPU's engine does.
    tile: upper bounds of a cube's edges in voxels, one number or z, y, x; None for what suits each tomogram.
    halo: voxels around a core; None for the model's own. batch: cubes to a call of the graph;
    None for one, or on a GPU for as many as keep it busy and fit in its memory.

    Raises:
        ModelError: E50 to E53 if the model cannot be used.
        UsageError: E80 if an option makes no sense.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "shrec12",
        *,
        engine: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        tile: int | Triple | None = None,
        halo: int | None = None,
        batch: int | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        for name, value, least in (("threads", threads, 1), ("batch", batch, 1), ("halo", halo, 0)):
            if value is not None and value < least:
                raise UsageError(80, f"--{name}", f"{value} is less than {least}", f"give {least} or more")
        self.bundle = Bundle.open(model if isinstance(model, str) else Path(model))
        self.card = self.bundle.card
        graphs = self.bundle.graphs
        self.choice, self.precision = choose_both(engine, precision, graphs)
        self._engine = open_engine(self.choice.engine, graphs[self.precision], threads=threads, batch=batch, say=say)
        self._scanner = Scanner(
            engine=self._engine,
            card=self.card,
            tile=(tile, tile, tile) if isinstance(tile, int) else tile,
            halo=self.card.halo if halo is None else halo,
        )
        self._options = {
            "halo": self._scanner.halo,
            "batch": batch,
            "engine_reason": self.choice.reason,
            "precision": self.precision,
        }
        self._process: int | None = None  # the one that opened the engine
        self._software: dict[str, str] = {}
        self._lock = RLock()

    def __enter__(self) -> Self:
        self._check_process()
        with self._lock:
            if self._process is None:
                self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the engine; the next detection opens it again."""
        if self._process not in (None, os.getpid()):
            return  # another process's to free
        with self._lock:
            if self._process is not None:
                self._process = None
                self._engine.__exit__(None, None, None)

    def detect(
        self,
        source: Volume,
        *,
        voxel_size: float | None = None,
        mode0: ByteSign | None = None,
        invert: bool = False,
        thresholds: float | Mapping[str, float] | None = None,
        classes: Iterable[str] | None = None,
        mask: Volume | None = None,
        progress: Progress = lambda done, total: None,
    ) -> Detection:
        """Return the particles of one tomogram; called from several threads, one after another.

        voxel_size: angstrom, in place of the file's; an array needs one. mode0: how to read bytes, in place of the
        file's flag. invert: particles have the other contrast than the model's. thresholds: lowest score of a pick,
        for all classes or by name. classes: names of those to pick. mask: not zero where to pick, of the same shape.

        Raises:
            InputError: E10 to E45 if the tomogram or the mask cannot be used. EngineError: E60, E61.
            UsageError: E80 if an option makes no sense.
        """
        voxel_size = None if voxel_size is None else float(voxel_size)
        names = None if classes is None else list(classes)
        defaults = {particle.name: particle.threshold for particle in self.card.classes}
        resolved = resolve(defaults, floor=self.card.candidate_floor, wanted=thresholds)
        chosen = of_classes(resolved, names)
        options: dict[str, Any] = {"invert": invert, "mode0": mode0, "voxel_size": voxel_size, "classes": names}
        stages = Stages()
        self._check_process()
        with self._lock:
            self.__enter__()
            with _open(source, voxel_size, mode0) as tomogram:
                self._check_voxel_size(tomogram)
                with nullcontext() if mask is None else Mask(mask, like=tomogram) as area:
                    scan = self._scanner.scan(tomogram, area, invert=invert, stages=stages, progress=progress)
                tomogram.check_unchanged()
        options |= {"mask": _path(mask), "tile": list(scan.cube)}
        record = _record(tomogram, source, scan.intensity)
        return self._picked(record, scan.candidates, resolved, chosen, stages, tomogram.warnings, options)

    def expect(self, path: str | os.PathLike[str], *, mode0: ByteSign | None = None) -> None:
        """Tell which tomogram comes after the next one, so that engines that can read it meanwhile do.

        What is wrong with it shows when its turn comes; an engine that is not open has no use for it.
        """
        if self._process == os.getpid() and isinstance(self._engine, Prefetching):
            with suppress(InputError), MrcFile(path, mode0=mode0) as file:
                self._engine.prefetch(file.raw())

    def _open(self) -> None:
        self.bundle = self.bundle.unchanged()
        self._process = os.getpid()  # at once: opening takes long, and a fork meanwhile must not wait for it
        try:
            self._engine.__enter__()
        except BaseException:
            self._process = None
            raise
        self._software = versions(self.choice.engine)

    def _check_process(self) -> None:
        """Refuse an engine that came with a fork: its threads are not here, its answers are for the other process."""
        if self._process not in (None, os.getpid()):
            problem = "was opened in another process, from which this one was forked"
            raise EngineError(61, "this Picker", problem, "open one in each process, or start processes by spawn")

    def _picked(
        self,
        tomogram: TomogramRecord,
        candidates: Detections,
        thresholds: dict[str, float],
        chosen: dict[str, float],
        stages: Stages,
        warnings: list[str],
        options: dict[str, Any],
    ) -> Detection:
        """Pick among the candidates and record how; thresholds are those of all classes, chosen those to pick."""
        card = self.card
        picks = pick(
            candidates, thresholds=as_array(chosen, card.class_names), fraction=card.nms_fraction,
            voxel_size=tomogram.voxel_size_angstrom,
        )  # fmt: skip
        stages.end("nms")
        record = DetectionRecord(
            tomogram=tomogram,
            model=ModelRecord(name=card.name, version=card.version, sha256=card.files[GRAPH], classes=card.class_names),
            engine=self._engine.name,
            thresholds=thresholds,
            nms_fraction=card.nms_fraction,
            floor=card.candidate_floor,
            counts={name: int(np.sum(picks.class_ids == card.class_names.index(name))) for name in chosen},
            candidates=len(candidates),
            timings=stages.seconds,
            warnings=tuple(warnings),
            options=self._options | options,
            software=self._software,
        )
        return Detection(picks=picks, candidates=candidates, record=record, class_names=card.class_names)

    def _check_voxel_size(self, tomogram: Tomogram) -> None:
        size, expected = tomogram.voxel_size, self.card.voxel_size_angstrom
        check_model_voxel_size(size, expected, subject=tomogram.name)
        if abs(size / expected - 1) > NOTED_DIFFERENCE:
            tomogram.warnings.append(f"voxel size {size:.4g} A used as it is, the model's is {expected:.4g} A")


def _open(source: Volume, voxel_size: float | None, mode0: ByteSign | None) -> Tomogram:
    if not isinstance(source, np.ndarray):
        return Tomogram.open(source, voxel_size=voxel_size, mode0=mode0)
    if voxel_size is None:
        raise UsageError(80, "--voxel-size", "an array has none of its own", "give it in angstrom")
    return Tomogram.from_array(source, voxel_size)


def _record(tomogram: Tomogram, source: Volume, intensity: Intensity) -> TomogramRecord:
    return TomogramRecord(
        name=tomogram.name, path=_path(source) or "", shape=tomogram.shape, voxel_size_angstrom=tomogram.voxel_size,
        statistics=asdict(intensity), header=tomogram.header,
    )  # fmt: skip


def _path(source: Volume | None) -> str | None:
    return None if source is None or isinstance(source, np.ndarray) else os.fspath(source)

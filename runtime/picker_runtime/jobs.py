"""What the commands `detect` and `picks` do, with a screen to show it on."""

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from picker_runtime.atomic import check_writable_folder, holding, sweep_leftovers
from picker_runtime.batch import BatchResult, run_batch
from picker_runtime.detector import Detection, Picker
from picker_runtime.errors import InputError, UsageError
from picker_runtime.nms import pick
from picker_runtime.outputs import (
    check_formats,
    check_name,
    check_targets,
    find_records,
    read_candidates,
    stem_of,
    write_outputs,
)
from picker_runtime.records import DetectionRecord
from picker_runtime.settings import DetectSettings, PicksSettings
from picker_runtime.thresholds import as_array, of_classes, resolve
from picker_runtime.worker import Progress


class Screen(Protocol):
    """Where a job shows what it does."""

    def note(self, text: str) -> None:
        """Show what a user should know before the work begins, or of what it waits for."""
        ...

    def progress(self, label: str) -> AbstractContextManager[Progress]:
        """Give the function that shows how many tiles are done."""
        ...

    def finished(self, path: Path, detection: Detection, folder: Path, seconds: float) -> None:
        """Show the picks of one tomogram, whose files are in `folder`."""
        ...

    def refused(self, path: Path, error: Exception) -> None:
        """Show why one tomogram was not done."""
        ...


def detect_all(settings: DetectSettings, screen: Screen) -> BatchResult:
    """Detect in every input and write its files; what makes no sense is refused before any work.

    Raises:
        UsageError: E80 for a bad option, E81 for inputs with equal stems.
        OutputError: E70 or E71 if the output folder cannot be written.
        ModelError, EngineError: if the model or the engine cannot be used.
    """
    named = [(path, settings.output / stem_of(path)) for path in settings.inputs]
    _prepare(settings, named)
    targets = dict(named)
    with Picker(
        settings.model, engine=settings.engine, precision=settings.precision, threads=settings.threads,
        tile=settings.tile, batch=settings.batch, say=screen.note,
    ) as picker:  # fmt: skip
        options: dict[str, Any] = {
            "voxel_size": settings.voxel_size,
            "mode0": settings.mode0,
            "invert": settings.invert,
            "thresholds": settings.thresholds.wanted(picker.card.class_names),
            "classes": settings.classes,
            "mask": settings.mask,
        }
        if picker.choice.notable:
            screen.note(f"engine {picker.choice.engine}: {picker.choice.reason}")
        following = dict(pairwise(settings.inputs))

        def work(path: Path) -> None:
            start = time.perf_counter()
            check_name(targets[path], settings.formats)
            if path in following:
                picker.expect(following[path], mode0=settings.mode0)
            with screen.progress(path.name) as progress:
                detection = picker.detect(path, **options, progress=progress)
            with holding(settings.output):
                written = _write(targets[path], detection, path, settings, again=False)
            screen.finished(path, written, settings.output, time.perf_counter() - start)

        return run_batch(settings.inputs, work, screen.refused)


def pick_all(settings: PicksSettings, screen: Screen) -> BatchResult:
    """Pick again from the candidates of earlier detections and write the files, beside them or in `output`.

    Raises:
        InputError: E44 if no folder holds candidates.
        UsageError: E80 for an option that is bad for any of the records, E81 if two would write the same files.
        OutputError: E70 or E71 if the output folder cannot be written.
    """
    records, refused = _records(settings.inputs)
    _check_options(records, settings)
    targets = {path: (settings.output or path.parent) / path.stem for path in records}
    _prepare(settings, targets.items())
    for empty, error in refused.items():
        screen.refused(empty, error)

    def work(path: Path) -> None:
        start = time.perf_counter()
        check_name(targets[path], settings.formats)
        with _holding_all({path.parent, targets[path].parent}):
            detection = pick_again(path, settings)
            own = detection.record.tomogram.path
            tomogram = path.parent / own if own else None
            again = path.parent.resolve() == targets[path].parent.resolve()
            written = _write(targets[path], detection, tomogram, settings, again=again)
        screen.finished(path, written, targets[path].parent, time.perf_counter() - start)

    return run_batch(list(targets), work, screen.refused).with_refused(list(refused.values()))


def _records(inputs: Iterable[Path]) -> tuple[list[Path], dict[Path, InputError]]:
    """Return the records of all inputs, and why some have none; raises that if all have none."""
    records: list[Path] = []
    refused: dict[Path, InputError] = {}
    for path in inputs:
        try:
            records += find_records(path)
        except InputError as error:
            refused[path] = error
    if refused and not records:
        raise next(iter(refused.values()))
    return list(dict.fromkeys(records)), refused


def _check_options(records: Iterable[Path], settings: PicksSettings) -> None:
    """Refuse options that make no sense for one of the records; one that cannot be read is refused in its turn."""
    for path in records:
        try:
            with suppress(InputError):
                _thresholds(DetectionRecord.read(path), settings)
        except UsageError as error:
            raise UsageError(error.code, error.subject, f"{path}: {error.problem}", error.fix) from error


@contextmanager
def _holding_all(folders: Iterable[Path]) -> Iterator[None]:
    """Hold folders, in an order that is the same for all, so that no two wait for each other."""
    with ExitStack() as held:
        for folder in sorted({folder.resolve() for folder in folders}):
            held.enter_context(holding(folder))
        yield


def pick_again(path: Path, settings: PicksSettings) -> Detection:
    """Return the detection whose record stands at `path`, with its picks made anew from its candidates.

    Without classes in the settings those that were picked last.

    Raises:
        InputError: E44 if the record or its candidates cannot be read.
        UsageError: E80 for an unknown class, or a threshold below the floor of the candidates.
    """
    record = DetectionRecord.read(path)
    thresholds, chosen = _thresholds(record, settings)
    candidates = read_candidates(record, path)
    names = record.model.classes
    picks = pick(
        candidates,
        thresholds=as_array(chosen, names),
        fraction=record.nms_fraction,
        voxel_size=record.tomogram.voxel_size_angstrom,
    )
    counts = {name: int(np.count_nonzero(picks.class_ids == names.index(name))) for name in chosen}
    record = replace(record, thresholds=thresholds, counts=counts)
    return Detection(picks=picks, candidates=candidates, record=record, class_names=names)


def _thresholds(record: DetectionRecord, settings: PicksSettings) -> tuple[dict[str, float], dict[str, float]]:
    """Return the thresholds of all classes, and those of the classes to pick."""
    wanted = settings.thresholds.wanted(record.thresholds)
    thresholds = resolve(record.thresholds, floor=record.floor, wanted=wanted)
    return thresholds, of_classes(thresholds, settings.classes or record.counts)


def _prepare(settings: DetectSettings | PicksSettings, targets: Collection[tuple[Path, Path]]) -> None:
    """Refuse what makes no sense, and make and sweep the folders to write in."""
    if not targets:
        raise UsageError(80, "INPUT", "none given", "give one or more files")
    check_formats(settings.formats)
    if settings.relion_centre != "core" and "relion5" not in settings.formats:
        problem = f"{settings.relion_centre} is for RELION's files, and none are asked for"
        raise UsageError(80, "--relion-centre", problem, "add --format relion5")
    check_targets(targets)
    for folder in sorted({target.parent for _, target in targets}):
        check_writable_folder(folder)
        sweep_leftovers(folder)


def _write(
    target: Path,
    detection: Detection,
    tomogram: Path | None,
    settings: DetectSettings | PicksSettings,
    *,
    again: bool,
) -> Detection:
    return write_outputs(
        target, detection, tomogram=tomogram, formats=settings.formats, relion_centre=settings.relion_centre,
        again=again,
    )  # fmt: skip

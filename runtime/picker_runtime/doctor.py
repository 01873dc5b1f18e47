"""A check of this installation: versions, GPUs and engines, bundled models, folders; with a fix for every problem."""

import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picker_runtime.atomic import check_writable_folder
from picker_runtime.bundle import Bundle, known_models
from picker_runtime.engines import ENGINES, open_engine
from picker_runtime.engines.base import Candidates, TileTooLarge
from picker_runtime.engines.cache import EngineCache, cache_folder
from picker_runtime.engines.choice import GPU_ENGINES, choose_engine, installed, obstacle_to_choosing, precisions_of
from picker_runtime.engines.driver import probe_driver
from picker_runtime.engines.threads import available_threads
from picker_runtime.errors import EngineError, ModelError, PickerError
from picker_runtime.file_voxels import FileVoxels
from picker_runtime.geometry import Box
from picker_runtime.memory_file import MemoryFile
from picker_runtime.tiling import Tile

REQUIRED = ("picker-cryoet", "numpy", "openvino", "typer")
OPTIONAL = ("onnxruntime", "torch", "onnx")
FOR_GPUS = (*(facts.distribution for facts in GPU_ENGINES.values()), "cuda-bindings", "cuda-core")
REINSTALL = "install picker again, by `pip install .` in its clone"
SELFTEST_TOLERANCES = {"fp32": 1e-3, "fp16": 0.02, "int8": 0.25}
"""Largest difference of a score, and of a centre in voxels, from the float32 output that came with the model."""
LEAST_ALIKE = 0.75
"""Share of candidates that must be of the class that came with the model."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at, and the exit status it leads to; `mark` begins its line."""

    text: str
    exit_status: int = 0
    mark: str = "ok"

    @classmethod
    def of(cls, error: PickerError) -> "Finding":
        """Return the finding that an error stands for."""
        return cls(text=str(error), exit_status=error.exit_status, mark="FAIL")


def examine(*, gemm: bool, models: Sequence[str] = ()) -> Iterator[Finding]:
    """Yield what each check found, most basic first.

    gemm: add the machine's speed of matrix products. models: names or folders; none: all that come with the package.
    """
    yield Finding(text=f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    yield from _versions()
    yield from _gpus()
    yield Finding(text=f"{available_threads()} threads may be used, of {os.cpu_count()} in the machine")
    yield _cache()
    names = models or known_models()
    if not names:
        yield Finding.of(ModelError(50, "models", "this installation has none", "install picker-cryoet again"))
    for name in names:
        yield from _model(name)
    if gemm:
        yield Finding(text=f"float32 matrix products: {gemm_gflops():.0f} GFLOP/s")


def gemm_gflops(*, edge: int = 2048, repeats: int = 5) -> float:
    """Return the best rate of a float32 product of two square matrices, 2 edge^3 operations each, in GFLOP/s."""
    a = np.random.default_rng(0).standard_normal((edge, edge), dtype=np.float32)
    best = min(_seconds(a) for _ in range(repeats))
    return 2 * edge**3 / best / 1e9


def _seconds(a: NDArray[np.float32]) -> float:
    start = time.perf_counter()
    a @ a
    return time.perf_counter() - start


def _versions() -> Iterator[Finding]:
    for name in REQUIRED + OPTIONAL:
        version = installed(name)
        if version is not None:
            yield Finding(text=f"{name} {version}")
        elif name in OPTIONAL:
            yield Finding(text=f"{name} is not installed; detection does not need it", mark="-")
        else:
            problem = f"{name} is not installed. Fix: {REINSTALL}"
            yield Finding(text=problem, mark="FAIL", exit_status=EngineError.exit_status)


def _gpus() -> Iterator[Finding]:
    """Yield the driver, its GPUs, the libraries for them, what keeps each GPU engine, and which engine `auto` takes."""
    driver = probe_driver()
    if driver.problem:
        yield Finding(text=f"no GPU: {driver.problem}. Fix, to use one: {driver.fix}", mark="-")
    else:
        yield Finding(text=str(driver))
        for gpu in driver.gpus:
            yield Finding(text=f"GPU {gpu.index}: {gpu}")
    for name in FOR_GPUS:
        version = installed(name)
        if version is not None:
            yield Finding(text=f"{name} {version}")
    for name in GPU_ENGINES:
        obstacle = obstacle_to_choosing(name, driver)
        if obstacle is not None and not driver.problem:
            yield Finding(text=f"engine {name}: {obstacle.problem}. Fix: {obstacle.fix}", mark="-")
    choice = choose_engine(driver)
    yield Finding(text=f"auto takes the engine {choice.engine}: {choice.reason}")


def _cache() -> Finding:
    folder = cache_folder()
    try:
        check_writable_folder(folder)
    except PickerError as error:
        text = (
            f"cache {folder}: {error.problem}; picker runs without it. Fix: set PICKER_CACHE_DIR to a folder of yours"
        )
        return Finding(text=text, mark="-")
    engines = EngineCache()
    if trouble := engines.trouble():
        text = (
            f"{trouble}; engines are built anew by every process. Fix: set PICKER_CACHE_DIR to a folder of yours alone"
        )
        return Finding(text=text, mark="-")
    return Finding(text=f"cache {folder} is writable, its engines take {engines.size / 1e6:.0f} MB")


def _model(name: str) -> Iterator[Finding]:
    try:
        bundle = Bundle.open(name)
        arrays = bundle.selftest()
    except PickerError as error:
        yield Finding.of(error)
        return
    yield Finding(text=f"model {name} {bundle.card.version}: {len(bundle.card.files)} files match their sha256")
    driver = probe_driver()
    usable = [engine for engine in GPU_ENGINES if obstacle_to_choosing(engine, driver) is None]
    for engine in [*usable, *ENGINES]:
        for precision in precisions_of(engine):
            if precision in bundle.graphs:
                yield _engine(engine, precision, bundle, arrays)


def _engine(name: str, precision: str, bundle: Bundle, arrays: dict[str, NDArray[Any]] | None) -> Finding:
    try:
        with open_engine(name, bundle.graphs[precision]) as engine:
            if arrays is None:
                return Finding(text=f"engine {name} opens {bundle.card.name}, which has no self-test")
            cube = _Cube(arrays)
            [(_, found)] = engine.stream(cube, [cube.tile])
    except TileTooLarge:
        problem = f"no memory for the self-test of {bundle.card.name}"
        return Finding.of(EngineError(61, name, problem, "free some, or use --engine openvino"))
    except PickerError as error:
        if isinstance(error, EngineError) and error.code == 60 and name in OPTIONAL:
            return Finding(text=f"engine {name} is not installed", mark="-")
        return Finding.of(error)
    difference = _difference(found, arrays, bundle.card.candidate_floor)
    text = f"engine {name} in {precision} on the self-test of {bundle.card.name}: differs by {difference:.1e} at most"
    if difference <= SELFTEST_TOLERANCES[precision]:
        return Finding(text=text)
    fix = f"use another --engine, and report this ({name} {installed(name) or ''})"
    return Finding(text=f"{text}. Fix: {fix}", mark="FAIL", exit_status=EngineError.exit_status)


class _Cube:
    """The self-test's cube as a source, and the one tile that reads it."""

    def __init__(self, arrays: dict[str, NDArray[Any]]) -> None:
        self.mean = float(arrays["mean"][0])
        self.inverse_std = float(arrays["inverse_std"][0])
        self._voxels: NDArray[np.float32] = arrays["cubes"][0, 0]
        box = Box((0, 0, 0), self._voxels.shape)
        self.tile = Tile(core=box, cube=box, owned=box)
        self._file = MemoryFile(self._voxels, name="the self-test")  # engines on GPUs read files only

    def read(self, box: Box) -> NDArray[np.float32]:
        return self._voxels[box.slices]

    def raw(self) -> FileVoxels:
        return self._file.voxels


def _difference(found: Candidates, arrays: dict[str, NDArray[Any]], floor: float) -> float:
    """Return how far the worst candidate is from its nearest counterpart in the other list; infinity without one.

    Engines may swap candidates of nearly equal scores, so that places in the list mean nothing; and only one of two may
    reach the floor, so that counterparts are sought below it too. Infinity also where more than a few are of another
    class: less precision may decide a tie differently, and no more.
    """
    one = np.column_stack((found.scores, found.centers, found.class_ids)).astype(np.float32)
    other = np.column_stack([arrays[name][0] for name in ("scores", "centers", "class_ids")]).astype(np.float32)
    return max(_farthest(one, other, floor), _farthest(other, one, floor))


def _farthest(rows: NDArray[np.float32], others: NDArray[np.float32], floor: float) -> float:
    """Return the largest distance of a row `(n, 5)`, score, centre, class, at or above the floor to its nearest."""
    rows = rows[rows[:, 0] >= floor]
    if len(rows) == 0 or len(others) == 0:
        return np.inf if len(rows) else 0.0
    distances = np.abs(others[None, :, :4] - rows[:, None, :4]).max(axis=2)
    counterparts = others[distances.argmin(axis=1)]
    alike = np.mean(counterparts[:, 4] == rows[:, 4])
    return float(distances.min(axis=1).max()) if alike >= LEAST_ALIKE else np.inf

"""Which engine and which precision `auto` takes, and why; found out without importing any engine's library."""

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from picker_runtime.engines.driver import Driver, probe_driver
from picker_runtime.errors import EngineError, UsageError
from picker_runtime.extras import CLEAR_ONNXRUNTIME

FALLBACK = "openvino"
ON_CPU = {"openvino": ("fp32", "int8"), "onnxruntime": ("fp32",)}
"""The precisions of each CPU engine, the one that `auto` prefers first: where float32 is fast enough, nothing else."""
ON_GPU = ("fp16", "fp32")
"""The precisions of every GPU engine, likewise: their float32 is several times slower."""
DEVICE_LIBRARY = "cuda.bindings"
"""Memory, streams and the one kernel of every GPU engine."""
LEAST_CUDA, LEAST_CAPABILITY = 13000, (7, 5)
"""Of a driver, and of a GPU, that the libraries of all our extras run with: they are CUDA 13's."""
RTX_SERVES = ((8, 0), (8, 6), (8, 9), (12, 0), (12, 1))
"""Compute capabilities that TensorRT-RTX 1.7 builds float32 3D convolutions for; its 7.5 has none."""
BUILD = re.compile(r"package_name = '([\w-]+)'")
"""The name of its own distribution in a file of ONNX Runtime's."""


@dataclass(frozen=True, kw_only=True)
class GpuEngineFacts:
    """What a GPU engine needs: a distribution, the module it brings, and the extra of ours that installs both."""

    distribution: str
    module: str
    extra: str


GPU_ENGINES = {
    "tensorrt": GpuEngineFacts(distribution="tensorrt", module="tensorrt", extra="tensorrt"),
    "tensorrt-rtx": GpuEngineFacts(distribution="tensorrt-rtx-cu13", module="tensorrt_rtx", extra="rtx"),
    "cuda": GpuEngineFacts(distribution="onnxruntime-gpu", module="onnxruntime", extra="cuda"),
}
"""The GPU engines, the one that `auto` prefers first."""


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """Why an engine cannot be used here, and what helps."""

    problem: str
    fix: str


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The engine that `auto` takes, and why it does.

    notable: whether a user should be told, since a GPU may be there; else only records say it.
    """

    engine: str
    reason: str
    notable: bool


def choose_engine(driver: Driver | None = None) -> Choice:
    """Return the first engine that can be used here, on what the driver says (asked where it is not given)."""
    driver = driver or probe_driver()
    if driver.problem:
        return Choice(engine=FALLBACK, reason=driver.problem, notable=driver.seen)
    passed: list[str] = []
    for name in GPU_ENGINES:
        obstacle = obstacle_to_choosing(name, driver)
        if obstacle is None:
            reason = "; ".join([f"runs on {driver.gpus[0]}", *passed])
            return Choice(engine=name, reason=reason, notable=True)
        passed.append(f"{name}: {obstacle.problem}")
    return Choice(engine=FALLBACK, reason="; ".join(passed), notable=True)


def choose_both(
    engine: str, precision: str, offered: Collection[str], driver: Driver | None = None
) -> tuple[Choice, str]:
    """Return the engine and the precision to take, each as asked for or, for "auto", the best that fits the other.

    offered: precisions that the model has a graph for.

    Raises:
        UsageError: E80 if there is no such precision, the engine does not run it, or the model has no graph for it.
    """
    if precision != "auto" and precision not in {*ON_GPU, *ON_CPU[FALLBACK]}:
        raise _bad_precision(precision, "no such precision", "give fp32, fp16, int8 or auto")
    if engine != "auto":
        choice = Choice(engine=engine, reason="asked for", notable=False)
    elif precision in ON_CPU[FALLBACK] and precision not in ON_GPU:
        choice = Choice(engine=FALLBACK, reason=f"{precision} is for CPUs", notable=False)
    else:
        choice = choose_engine(driver)
    return choice, _choose_precision(precision, choice.engine, offered)


def precisions_of(engine: str) -> tuple[str, ...]:
    """Return the precisions that an engine runs, the one that `auto` prefers first."""
    return ON_CPU.get(engine, ON_GPU)


def _choose_precision(precision: str, engine: str, offered: Collection[str]) -> str:
    runs = precisions_of(engine)
    if precision == "auto":
        return next(one for one in runs if one in offered)
    if precision not in runs:
        others = [name for name, known in ON_CPU.items() if precision in known] or list(GPU_ENGINES)
        fix = f"give {' or '.join(runs)}, or --engine {others[0]}"
        raise _bad_precision(precision, f"the engine {engine} runs {' and '.join(runs)}", fix)
    if precision not in offered:
        there = " or ".join(one for one in runs if one in offered)
        fix = f"give {there}, or export it again with --precision {precision}"
        raise _bad_precision(precision, f"the model has {', '.join(offered)}", fix)
    return precision


def _bad_precision(precision: str, problem: str, fix: str) -> UsageError:
    return UsageError(80, f"--precision {precision}", problem, fix)


def obstacle_to(name: str, driver: Driver | None = None) -> Obstacle | None:
    """Return what keeps a GPU engine from being used here; None for nothing that shows before it is loaded."""
    driver = driver or probe_driver()
    if driver.problem:
        return Obstacle(problem=driver.problem, fix=driver.fix)
    facts = GPU_ENGINES[name]
    if not _found(facts.module):
        return Obstacle(problem=f"{facts.distribution} is not installed", fix=install_line(name))
    if not _found(DEVICE_LIBRARY):
        return Obstacle(problem="cuda-bindings is not installed", fix=install_line(name))
    return None


def obstacle_to_choosing(name: str, driver: Driver) -> Obstacle | None:
    """Return what keeps `auto` from a GPU engine: all that keeps it from being used, and what is bound to fail."""
    obstacle = obstacle_to(name, driver)
    return obstacle if obstacle is not None else _unsuitable(name, driver)


def require_gpu_engine(name: str) -> None:
    """Refuse a GPU engine that cannot be used here.

    Raises:
        EngineError: E60 with what is missing.
    """
    obstacle = obstacle_to(name)
    if obstacle is not None:
        raise EngineError(60, name, obstacle.problem, f"{obstacle.fix}; or --engine auto")


def install_line(name: str) -> str:
    """Return the command that installs a GPU engine."""
    return f"pip install 'picker-cryoet[{GPU_ENGINES[name].extra}]'"


def installed(distribution: str) -> str | None:
    """Return the version of an installed distribution; None where it is not."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def versions(engine: str) -> dict[str, str]:
    """Return the versions of what a detection depends on, by distribution: picker, numpy, the engine's library."""
    library = GPU_ENGINES[engine].distribution if engine in GPU_ENGINES else engine
    if library.startswith("onnxruntime"):
        library = onnxruntime_build() or library
    found = {name: installed(name) for name in ("picker-cryoet", "numpy", library)}
    return {name: number for name, number in found.items() if number is not None}


def _unsuitable(name: str, driver: Driver) -> Obstacle | None:
    """Return why an engine will hardly work on this GPU, though whoever asks for it by name may try."""
    gpu = driver.gpus[0]
    if 0 < driver.cuda < LEAST_CUDA:
        return Obstacle(problem=f"needs CUDA 13, and this is the {driver}", fix="update the driver to 580 or later")
    if gpu.compute_capability < LEAST_CAPABILITY:
        return Obstacle(problem=f"CUDA 13 serves compute capabilities from 7.5 on, not {gpu}", fix="use another GPU")
    if name == "cuda" and not _serves_gpus():
        return Obstacle(
            problem="the ONNX Runtime installed here is the one for CPUs",
            fix=f"{CLEAR_ONNXRUNTIME}, then {install_line(name)}",
        )
    if name != "tensorrt-rtx" or gpu.compute_capability in RTX_SERVES:
        return None
    served = ", ".join(f"{major}.{minor}" for major, minor in RTX_SERVES)
    return Obstacle(problem=f"serves compute capabilities {served}, not that of {gpu}", fix="use --engine cuda")


def _serves_gpus() -> bool:
    """Tell whether the folder that ONNX Runtime's builds for CPUs and GPUs share was last written by that for GPUs."""
    build = onnxruntime_build()
    return build is not None and "gpu" in build


def onnxruntime_build() -> str | None:
    """Return the distribution whose ONNX Runtime is here: of several the one installed last; None for no whole one."""
    spec = find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        return None  # not there, or a folder that an uninstalled one left
    with suppress(OSError, UnicodeDecodeError):
        stated = BUILD.search((Path(spec.origin).parent / "capi/build_and_package_info.py").read_text("utf-8"))
        if stated:
            return stated[1]
    return next((name for name in ("onnxruntime-gpu", "onnxruntime") if installed(name)), None)


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False

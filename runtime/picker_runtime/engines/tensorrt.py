"""Building TensorRT engines: TensorRT 10 and 11, and TensorRT-RTX, by one module; they differ in name and targets.

The precision is what the graph says (strongly typed), shapes are fixed by one optimisation profile each, and tensors go
by name. TensorRT builds on the GPU it is for; TensorRT-RTX builds anywhere, for every GPU from Ampere on, and finishes
the kernels where it runs. `engines.tensorrt_network` runs what is built here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from picker_runtime.engines.cpu import INPUTS, OUTPUTS, load_library
from picker_runtime.engines.device import Shape
from picker_runtime.engines.driver import probe_driver
from picker_runtime.errors import EngineError, ModelError

BuildProgress = Callable[[int, int], None]
"""Called with the number of steps done and the number of steps, also in between: whoever is called knows it goes on."""

SOURCE_PLACE = re.compile(r"\s*\bIn [\w:~<>, ]+ at /[^\s)]+:\d+")
FIX = "use another --precision or --engine"


@dataclass(frozen=True, kw_only=True)
class Library:
    """One of the two packages: what it is imported as, which engine and extra it makes, where it can build."""

    module: str
    engine: str
    extra: str
    builds_anywhere: bool


TENSORRT = Library(module="tensorrt", engine="tensorrt", extra="tensorrt", builds_anywhere=False)
RTX = Library(module="tensorrt_rtx", engine="tensorrt-rtx", extra="rtx", builds_anywhere=True)
LIBRARIES = {library.engine: library for library in (TENSORRT, RTX)}


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What an engine is built for.

    shapes: of `cubes` (N, 1, D, H, W), one profile each. compatible: for later versions of the library and other GPUs
    from Ampere on, at some speed; TensorRT-RTX serves other GPUs anyway. targets: compute capabilities as TensorRT-RTX
    names them, "SM86"; none for its own choice.
    """

    shapes: tuple[Shape, ...]
    compatible: bool = False
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.shapes or any(len(shape) != 5 or shape[1] != 1 or min(shape) < 1 for shape in self.shapes):
            raise ValueError(f"shapes are {self.shapes}, expected one or more of (N, 1, D, H, W)")


class Log:
    """Keeps what a library complains of, in place of its printing; `bound` is the object to hand to the library."""

    def __init__(self, library: Any) -> None:
        self._lines: list[str] = []
        keep = self._lines.append

        class Bound(library.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                library.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in (library.ILogger.ERROR, library.ILogger.INTERNAL_ERROR):
                    keep(message)

        self.bound = Bound()

    def take(self) -> str:
        """Return the last complaint, without places in the library's sources, and forget all."""
        text = self._lines[-1] if self._lines else "no reason given"
        self._lines.clear()
        return reason(text)


def reason(text: str) -> str:
    """Return a library's complaint as one line: without who called whom, and from where in its sources."""
    text = SOURCE_PLACE.sub("", text.splitlines()[0] if text else text)
    inner = re.search(r"Error Code \d+: [\w ]+ \((.*)\)\s*$", text)
    return (inner[1] if inner else text).strip(" .")


def import_tensorrt(library: Library) -> Any:
    """Import a library.

    Raises:
        EngineError: E60 if it is not installed or cannot be loaded.
    """
    return load_library(library.module, extra=library.extra)


def check_can_build(library: Library) -> None:
    """Refuse to build where there is no GPU for it.

    Raises:
        EngineError: E60 with what the driver says.
    """
    driver = probe_driver()
    if driver.problem and not library.builds_anywhere:
        raise EngineError(60, library.engine, f"builds only on the GPU it is for: {driver.problem}", driver.fix)


@cache
def log_of(module: Any) -> Log:
    """Return the one log of a library in this process: it accepts no second one."""
    return Log(module)


def build_plan(
    library: Library, graph: bytes, options: BuildOptions, *, name: str, progress: BuildProgress = lambda *_: None
) -> bytes:
    """Return an engine built from a graph's bytes, serialised; `name` is what errors call the graph.

    Raises:
        EngineError: E60 if the library cannot build here; E62, naming the node, if it cannot build this graph.
        ModelError: E53 if the bytes are no graph of ours.
    """
    check_can_build(library)
    trt = import_tensorrt(library)
    log = log_of(trt)
    builder = _builder(trt, log, library)
    network, parser = _parse(trt, builder, log, graph, library, name)
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # float32 means float32; speed is the float16 graph's
    for shape in options.shapes:
        _add_profile(builder, config, shape, library)
    _set_targets(trt, config, options, library)
    monitor = _monitor(trt, progress)
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if monitor.stopped is not None:
        raise monitor.stopped
    del parser  # it owns the weights until here
    if plan is None:
        shapes = ", ".join("x".join(map(str, shape)) for shape in options.shapes)
        raise EngineError(62, f"{name} with {library.engine}", f"no engine for {shapes}: {log.take()}", FIX)
    return bytes(plan)


def _builder(trt: Any, log: Log, library: Library) -> Any:
    try:
        return trt.Builder(log.bound)
    except Exception as error:  # its own, when the driver is older than it needs
        problem = f"cannot build here: {log.take()}"
        raise EngineError(60, library.engine, problem, "update the driver, or use another --engine") from error


def _parse(trt: Any, builder: Any, log: Log, graph: bytes, library: Library, name: str) -> tuple[Any, Any]:
    """Return the network that a graph describes, and the parser that owns its weights."""
    flags = trt.NetworkDefinitionCreationFlag
    typed = 1 << int(flags.STRONGLY_TYPED) if hasattr(flags, "STRONGLY_TYPED") else 0  # later versions know no other
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, log.bound)
    if not parser.parse(graph):
        raise _parse_error(parser, library, name)
    log.take()  # a parser complains of what it then works around
    found = [
        {end(i).name for i in range(count)}
        for end, count in ((network.get_input, network.num_inputs), (network.get_output, network.num_outputs))
    ]
    if found != [set(INPUTS), set(OUTPUTS)]:
        problem = f"takes {sorted(found[0])} and gives {sorted(found[1])}, expected {INPUTS} and {OUTPUTS}"
        raise ModelError(53, name, problem, "export the model again")
    return network, parser


def _parse_error(parser: Any, library: Library, name: str) -> EngineError:
    if parser.num_errors == 0:
        return EngineError(62, f"{name} with {library.engine}", "the graph cannot be read", FIX)
    error = parser.get_error(0)
    node = f"node {error.node_name()} ({error.node_operator()})" if error.node() >= 0 else "the graph"
    lines = [line for line in error.desc().splitlines() if not line.startswith("Invalid Node")]
    return EngineError(62, f"{name} with {library.engine}", f"cannot use {node}: {reason(lines[0])}", FIX)


def _add_profile(builder: Any, config: Any, cubes: Shape, library: Library) -> None:
    profile = builder.create_optimization_profile()
    for name, shape in zip(INPUTS, (cubes, cubes[:1], cubes[:1]), strict=True):
        profile.set_shape(name, shape, shape, shape)
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(62, library.engine, f"refuses cubes of {cubes}", "use another --tile or --batch")


def _set_targets(trt: Any, config: Any, options: BuildOptions, library: Library) -> None:
    """Set what the engine must run on, with those options that the library has."""
    if options.compatible and not library.builds_anywhere:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options.targets:
        known = getattr(trt, "ComputeCapability", None)
        strange = [target for target in options.targets if not hasattr(known, target)]
        if strange:
            raise EngineError(62, library.engine, f"builds for no {', '.join(strange)}", "leave the targets out")
        config.num_compute_capabilities = len(options.targets)
        for index, target in enumerate(options.targets):
            config.set_compute_capability(getattr(known, target), index)


def _monitor(trt: Any, progress: BuildProgress) -> Any:
    """Return what a library reports its steps to; what `progress` raises ends the build and is kept in `stopped`."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.stopped: BaseException | None = None
            self._whole, self._done, self._total = "", 0, 1

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            if parent is None:
                self._whole, self._done, self._total = phase, 0, steps

        def step_complete(self, phase: str, step: int) -> bool:
            if phase == self._whole:
                self._done = step + 1
            if self.stopped is None:
                try:
                    progress(self._done, self._total)
                except BaseException as error:  # it must not pass through the library
                    self.stopped = error
            return self.stopped is None

        def phase_finish(self, phase: str) -> None:
            pass  # the last step said it

    return Monitor()


def read_graph(path: Path) -> bytes:
    """Return a graph's bytes.

    Raises:
        ModelError: E52 if it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(52, path.name, f"cannot be read ({error.strerror})", "install the model again") from error

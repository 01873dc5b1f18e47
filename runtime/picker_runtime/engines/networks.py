"""From a model's graph to a network on a device: built at first use, kept in the cache, by the engine's library."""

import hashlib
from pathlib import Path

from picker_runtime.engines.cache import EngineCache, PlanKey, Say
from picker_runtime.engines.device import Device, DeviceFacts, Network, Shape
from picker_runtime.engines.driver import probe_driver
from picker_runtime.engines.tensorrt import (
    LIBRARIES,
    BuildOptions,
    Library,
    build_plan,
    import_tensorrt,
    read_graph,
)

FP16 = ".fp16."
"""Part of the name of a graph whose convolutions are float16."""


def open_network(name: str, graph: Path, cubes: Shape, device: Device, *, say: Say = lambda line: None) -> Network:
    """Return a model's graph on a device for cubes `(N, 1, D, H, W)`, by the engine of this name.

    say: called with lines on what takes long: building, waiting for another process.

    Raises:
        EngineError: E60 if the engine cannot be used here, E62 if it cannot be built.
        ModelError: E52 or E53 if the graph cannot be used.
    """
    if name == "cuda":
        from picker_runtime.engines.onnxruntime_cuda import OnnxRuntimeCudaNetwork

        return OnnxRuntimeCudaNetwork(graph, cubes, device)
    from picker_runtime.engines.tensorrt_network import TensorRtNetwork

    library, options, content, cache = LIBRARIES[name], BuildOptions(shapes=(cubes,)), read_graph(graph), EngineCache()
    key = plan_key(library, content, options, precision=precision_of(graph), gpu=device.facts)
    kernels = cache.path(key).with_suffix(f".{_digest(device.facts)}.kernels") if cache.is_private else None
    cached = cache.get(
        key,
        build=lambda: announced_build(library, content, options, name=graph.name, say=say),
        load=lambda plan: TensorRtNetwork(library, plan, device, kernels=kernels),
        say=say,
    )
    cached.value.note = cached.note
    return cached.value


def announced_build(library: Library, graph: bytes, options: BuildOptions, *, name: str, say: Say) -> bytes:
    """Build a plan, saying how far it is, and "" in between for whoever waits for a sign of life.

    Raises:
        EngineError, ModelError: as `build_plan`.
    """
    shapes = " and ".join("x".join(map(str, shape)) for shape in options.shapes)
    say(f"building a {library.engine} engine for cubes of {shapes}, once")
    last = 0

    def progress(done: int, total: int) -> None:
        nonlocal last
        say("" if done == last else f"building: step {done} of {total}")
        last = done

    return build_plan(library, graph, options, name=name, progress=progress)


def plan_key(
    library: Library, graph: bytes, options: BuildOptions, *, precision: str, gpu: DeviceFacts | None
) -> PlanKey:
    """Return what an engine built with these options depends on; `gpu` matters where it fits no other.

    Raises:
        EngineError: E60 if the library is not installed.
    """
    bound = not library.builds_anywhere and gpu is not None
    return PlanKey(
        model=hashlib.sha256(graph).hexdigest(),
        library=library.engine,
        version=str(import_tensorrt(library).__version__),
        precision=precision,
        profile=options.shapes,
        gpu=gpu.name if gpu and bound else "",
        compute_capability="{}.{}".format(*gpu.compute_capability) if gpu and bound else "",
        driver=str(gpu.driver) if gpu and bound else "",
        options=(
            *(("compatible",) if options.compatible else ()),
            *(("no-tf32",) if precision == "fp32" else ()),  # earlier versions of picker built with it
            *options.targets,
        ),
    )


def first_gpu() -> DeviceFacts | None:
    """Return the GPU that engines are built for here; None where there is none."""
    driver = probe_driver()
    if not driver.gpus:
        return None
    gpu = driver.gpus[0]
    return DeviceFacts(index=gpu.index, name=gpu.name, compute_capability=gpu.compute_capability, driver=driver.cuda)


def precision_of(graph: Path) -> str:
    """Return the precision that a graph's name states: fp16 or fp32."""
    return "fp16" if FP16 in graph.name else "fp32"


def _digest(facts: DeviceFacts) -> str:
    text = f"{facts.name} {facts.compute_capability} {facts.driver}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]

"""Job: is TensorRT-RTX usable on this GPU? Build the bundled graph, run it, compare with ONNX Runtime on the CPU.

    python export/jobs/rtx_usable.py [--model FOLDER] [--edge 128] [--build-only] [--output FILE]

Needs the wheels of tensorrt-rtx-cu13 (libraries and bindings), numpy, onnxruntime and, to run the engine, PyTorch with
CUDA for device memory. Prints one JSON object: versions, GPU, seconds to build, milliseconds a cube, largest difference
of a score, or the step that failed and why, with exit status 1; it is usable if all is finite and no score differs by
more than 0.01. `--build-only` needs no GPU.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "runtime" / "picker_runtime" / "models" / "shrec12"
OUTPUTS = ("centers", "diameters", "scores", "class_ids")
REPEATS = 20
TOLERANCE = 0.01
"""Of a score: GPUs multiply float32 in TF32, whose mantissa is as short as that of float16."""


def build(graph: Path, edge: int) -> tuple[Any, bytes, dict[str, Any]]:
    """Parse the graph and build an engine for cubes of one shape."""
    import tensorrt_rtx as trt

    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph.read_bytes()):
        raise RuntimeError("; ".join(str(parser.get_error(i)) for i in range(parser.num_errors)))
    profile = builder.create_optimization_profile()
    for name, shape in (("cubes", (1, 1, edge, edge, edge)), ("mean", (1,)), ("inverse_std", (1,))):
        profile.set_shape(name, shape, shape, shape)
    config = builder.create_builder_config()
    config.add_optimization_profile(profile)
    started = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RuntimeError("the builder returned nothing")
    facts = {
        "tensorrt_rtx": trt.__version__,
        "build_seconds": time.perf_counter() - started,
        "plan_mb": plan.nbytes / 1e6,
    }
    return trt.Runtime(logger), bytes(plan), facts


def run(
    runtime: Any, plan: bytes, inputs: dict[str, np.ndarray], shapes: dict[str, Any]
) -> tuple[dict[str, Any], float]:
    """Run the engine; return its outputs and the median milliseconds of a call."""
    import torch

    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise RuntimeError("the plan cannot be loaded on this GPU")
    context = engine.create_execution_context()
    device = {name: torch.from_numpy(value).cuda() for name, value in inputs.items()}
    for name, (shape, dtype) in shapes.items():
        device[name] = torch.full(shape, -1, dtype=torch.int32 if dtype == np.int32 else torch.float32, device="cuda")
    for name, value in inputs.items():
        context.set_input_shape(name, value.shape)
    for name, tensor in device.items():
        context.set_tensor_address(name, tensor.data_ptr())
    stream = torch.cuda.Stream()
    times = []
    for _ in range(REPEATS + 3):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record(stream)
        if not context.execute_async_v3(stream.cuda_stream):
            raise RuntimeError("execution failed")
        stop.record(stream)
        stop.synchronize()
        times.append(start.elapsed_time(stop))
    return {name: device[name].cpu().numpy() for name in OUTPUTS}, float(np.median(times[3:]))


def score_difference(found: dict[str, Any], expected: dict[str, Any]) -> float:
    """Return the largest difference of a score.

    Raises:
        RuntimeError: if it is above the tolerance, or an output is not finite.
    """
    if broken := [name for name in OUTPUTS if not np.isfinite(found[name]).all()]:
        raise RuntimeError(f"{', '.join(broken)} not finite")
    largest = float(np.abs(found["scores"] - expected["scores"]).max())
    if largest > TOLERANCE:
        raise RuntimeError(f"a score differs by {largest:.3g} from the CPU's, expected at most {TOLERANCE:g}")
    return largest


def main() -> None:
    """Build, run, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--edge", type=int, default=128)
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {"job": "is-tensorrt-rtx-usable", "edge": options.edge, "step": "build"}
    try:
        runtime, plan, facts = build(options.model / "model.onnx", options.edge)
        result |= facts
        if not options.build_only:
            import onnxruntime
            import torch

            result |= {"step": "reference", "gpu": torch.cuda.get_device_name(), "torch": torch.__version__}
            rng = np.random.default_rng(0)
            cubes = rng.normal(size=(1, 1) + (options.edge,) * 3).astype(np.float32)
            inputs = {"cubes": cubes, "mean": np.zeros(1, np.float32), "inverse_std": np.ones(1, np.float32)}
            session = onnxruntime.InferenceSession(options.model / "model.onnx", providers=["CPUExecutionProvider"])
            expected = dict(zip(OUTPUTS, session.run(list(OUTPUTS), inputs), strict=True))
            result["step"] = "run"
            shapes = {name: (value.shape, value.dtype) for name, value in expected.items()}
            found, result["milliseconds_a_cube"] = run(runtime, plan, inputs, shapes)
            result["step"] = "compare"
            result["max_score_difference"] = score_difference(found, expected)
        result |= {"step": "done", "usable": not options.build_only}
    except Exception as error:
        result |= {"usable": False, "error": f"{type(error).__name__}: {error}"}
    text = json.dumps(result, indent=2)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")
    sys.exit(0 if result["step"] == "done" else 1)


if __name__ == "__main__":
    main()

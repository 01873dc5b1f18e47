import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import picker_runtime.engines as engines
from picker_runtime.engines import choice as choice_module
from picker_runtime.engines import open_engine
from picker_runtime.engines.child import ChildEngine
from picker_runtime.engines.choice import GPU_ENGINES, choose_both, choose_engine, obstacle_to
from picker_runtime.engines.driver import Driver, Gpu
from picker_runtime.errors import EngineError, UsageError

ALL = {"tensorrt", "tensorrt_rtx", "onnxruntime", "cuda.bindings", "onnxruntime-gpu"}
ABSENT = Driver(problem="no NVIDIA driver here", fix="install it", seen=False)
BROKEN = Driver(problem="the driver does not answer within 30 s", fix="restart")


def driver(major: int = 8, minor: int = 6) -> Driver:
    gpu = Gpu(index=0, name="A GPU", compute_capability=(major, minor), memory=2**34)
    return Driver(gpus=(gpu,), cuda=13000)


def install(monkeypatch: pytest.MonkeyPatch, there: set[str]) -> None:
    whole = SimpleNamespace(origin="/nowhere/__init__.py")
    monkeypatch.setattr(choice_module, "find_spec", lambda module: whole if module in there else None)
    monkeypatch.setattr(choice_module, "installed", lambda name: "1" if name in there else None)


@pytest.mark.parametrize(
    ("there", "engine"),
    [
        (ALL, "tensorrt"),
        (ALL - {"tensorrt"}, "tensorrt-rtx"),
        (ALL - {"tensorrt", "tensorrt_rtx"}, "cuda"),
        (ALL - {"tensorrt", "tensorrt_rtx", "onnxruntime-gpu"}, "openvino"),
        (ALL - {"cuda.bindings"}, "openvino"),
        (set(), "openvino"),
    ],
)
def test_auto_takes_the_first_that_can_be_used(there: set[str], engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, there)
    chosen = choose_engine(driver())
    assert chosen.engine == engine
    assert chosen.notable


def test_the_reason_names_the_gpu_and_what_was_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ALL - {"tensorrt"})
    reason = choose_engine(driver()).reason
    assert reason == "runs on A GPU (compute capability 8.6, 16 GiB); tensorrt: tensorrt is not installed"


@pytest.mark.parametrize(
    ("capability", "engine"), [((8, 0), "tensorrt-rtx"), ((12, 0), "tensorrt-rtx"), ((9, 0), "cuda"), ((7, 5), "cuda")]
)
def test_auto_leaves_tensorrt_rtx_to_the_gpus_it_serves(
    capability: tuple[int, int], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, ALL - {"tensorrt"})
    assert choose_engine(driver(*capability)).engine == engine
    assert obstacle_to("tensorrt-rtx", driver(*capability)) is None  # by name it may be tried


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (replace(driver(), cuda=12080, version="570.1"), "needs CUDA 13, and this is the driver 570.1 for CUDA 12.8"),
        (driver(7, 0), r"serves compute capabilities from 7.5 on, not A GPU (compute capability 7.0"),
    ],
)
def test_auto_leaves_alone_what_cuda_13_does_not_serve(
    found: Driver, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, ALL)
    chosen = choose_engine(found)
    assert (chosen.engine, chosen.notable) == ("openvino", True)
    assert words in chosen.reason
    assert all(obstacle_to(name, found) is None for name in GPU_ENGINES)  # by name it may be tried


@pytest.mark.parametrize(("found", "notable"), [(ABSENT, False), (BROKEN, True)])
def test_without_a_driver_auto_is_the_cpu(found: Driver, notable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ALL)
    chosen = choose_engine(found)
    assert (chosen.engine, chosen.reason, chosen.notable) == ("openvino", found.problem, notable)


@pytest.mark.parametrize("name", GPU_ENGINES)
def test_a_gpu_engine_that_was_asked_for_is_never_replaced(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(choice_module, "probe_driver", lambda: ABSENT)
    with pytest.raises(EngineError, match=rf"E60 {name}: no NVIDIA driver here. Fix: install it"):
        open_engine(name, tmp_path / "model.onnx")


def test_a_gpu_engine_says_what_takes_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engines, "require_gpu_engine", lambda name: None)
    said: list[str] = []
    engine = open_engine("tensorrt-rtx", tmp_path / "model.onnx", say=said.append)
    assert isinstance(engine, ChildEngine)
    engine.say("building")
    assert said == ["building"]


@pytest.mark.parametrize("name", GPU_ENGINES)
def test_what_is_not_installed_is_named_with_its_command(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, set())
    monkeypatch.setattr(choice_module, "probe_driver", driver)
    with pytest.raises(EngineError, match=r"E60 .*is not installed. Fix: pip install 'picker-cryoet\["):
        open_engine(name, tmp_path / "model.onnx")


def test_choosing_imports_no_engine_s_library(tmp_path: Path) -> None:
    program = (
        "import sys; from picker_runtime.engines import choose_engine\n"
        "assert choose_engine().reason\n"
        "print(sorted({'tensorrt', 'tensorrt_rtx', 'cuda', 'onnxruntime', 'openvino'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "[]")


@pytest.mark.parametrize(
    ("engine", "precision", "offered", "chosen"),
    [
        ("auto", "auto", {"fp32", "fp16", "int8"}, ("tensorrt", "fp16")),
        ("auto", "auto", {"fp32", "int8"}, ("tensorrt", "fp32")),
        ("auto", "fp32", {"fp32", "fp16"}, ("tensorrt", "fp32")),
        ("auto", "int8", {"fp32", "int8"}, ("openvino", "int8")),
        ("openvino", "auto", {"fp32", "fp16", "int8"}, ("openvino", "fp32")),
        ("openvino", "int8", {"fp32", "int8"}, ("openvino", "int8")),
        ("cuda", "auto", {"fp32", "fp16"}, ("cuda", "fp16")),
    ],
)
def test_engine_and_precision_are_chosen_to_fit_each_other(
    engine: str, precision: str, offered: set[str], chosen: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, ALL)
    choice, taken = choose_both(engine, precision, offered, driver())
    assert (choice.engine, taken) == chosen


@pytest.mark.parametrize(
    ("engine", "precision", "fix"),
    [
        ("cuda", "int8", "give fp16 or fp32, or --engine openvino"),
        ("openvino", "fp16", "give fp32 or int8, or --engine tensorrt"),
        ("auto", "fp16", "give fp32, or export it again with --precision fp16"),
        ("auto", "half", "give fp32, fp16, int8 or auto"),
    ],
)
def test_a_precision_that_an_engine_or_a_model_has_not_is_refused(
    engine: str, precision: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, ALL)
    with pytest.raises(UsageError, match="E80") as caught:
        choose_both(engine, precision, {"fp32"}, driver())
    assert caught.value.fix == fix


def test_half_precision_without_a_gpu_is_refused_and_not_replaced() -> None:
    with pytest.raises(UsageError, match="the engine openvino runs fp32 and int8"):
        choose_both("auto", "fp16", {"fp32", "fp16"}, ABSENT)


@pytest.mark.parametrize(
    ("build", "engine"), [("onnxruntime", "openvino"), ("onnxruntime-gpu", "cuda"), (None, "openvino")]
)
def test_of_two_onnx_runtimes_the_one_installed_last_counts(
    build: str | None, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, {"onnxruntime", "cuda.bindings", "onnxruntime-gpu"})
    (tmp_path / "capi").mkdir()
    (tmp_path / "capi/build_and_package_info.py").write_text(f"package_name = '{build}'\n__version__ = '1.32.0'\n")
    there = SimpleNamespace(origin=None if build is None else str(tmp_path / "__init__.py"))
    monkeypatch.setattr(
        choice_module, "find_spec", lambda module: there if module in ("onnxruntime", "cuda.bindings") else None
    )
    chosen = choose_engine(driver())
    assert chosen.engine == engine
    assert ("for CPUs" in chosen.reason) == (engine == "openvino")
    assert ("onnxruntime-gpu" in choice_module.versions("onnxruntime")) == (engine == "cuda")


def test_the_versions_are_those_of_picker_numpy_and_the_engine_s_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice_module, "installed", lambda name: f"{name} 1" if name != "numpy" else None)
    assert choice_module.versions("tensorrt-rtx") == {
        "picker-cryoet": "picker-cryoet 1",
        "tensorrt-rtx-cu13": "tensorrt-rtx-cu13 1",
    }
    assert "openvino" in choice_module.versions("openvino")

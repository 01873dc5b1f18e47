from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from golden.blob_graph import golden_bundle, volume_with_blobs

import picker_runtime.bundle as bundle
from picker_runtime.card import ModelCard
from picker_runtime.doctor import Finding, examine, gemm_gflops
from picker_runtime.engines import choice, open_engine
from picker_runtime.engines.base import Candidates, FakeEngine, TileTooLarge
from picker_runtime.engines.child import ChildEngine
from picker_runtime.engines.driver import Driver, Gpu
from picker_runtime.errors import EngineError
from picker_runtime.geometry import Box
from picker_runtime.tiling import Tile

SHAPE = (32, 32, 32)


class Cube:
    """A volume as a source."""

    mean, inverse_std = 0.0, 1.0

    def __init__(self, volume: np.ndarray) -> None:
        self.volume = volume

    def read(self, box: Box) -> np.ndarray:
        return self.volume[box.slices]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models with the golden one, which has a self-test; a writable cache."""
    folder = golden_bundle(tmp_path / "models/golden")
    volume = volume_with_blobs(SHAPE, [(16, 16, 16), (8, 20, 24)])
    box = Box.whole(SHAPE)
    with open_engine("openvino", folder / "model.onnx", threads=1) as engine:
        [(_, found)] = engine.stream(Cube(volume), [Tile(box, box, box)])
    arrays = {"cubes": volume[None, None], "mean": np.zeros(1, np.float32), "inverse_std": np.ones(1, np.float32)}
    arrays |= {"centers": found.centers[None], "scores": found.scores[None], "class_ids": found.class_ids[None]}
    np.savez(folder / "selftest.npz", **arrays)
    bundle.write_card(folder, ModelCard.from_json((folder / "card.json").read_text(), subject="card.json"))
    monkeypatch.setattr(bundle, "MODELS", tmp_path / "models")
    monkeypatch.setenv("PICKER_CACHE_DIR", str(tmp_path / "cache"))
    return folder.parent


def status(findings: list[Finding]) -> int:
    return max(finding.exit_status for finding in findings)


def test_a_sound_installation_passes(models: Path) -> None:
    findings = list(examine(gemm=False))
    assert status(findings) == 0
    texts = " ".join(finding.text for finding in findings)
    assert "model golden 1: 2 files match" in texts
    assert "engine openvino in fp32 on the self-test of golden: differs by 0.0e+00" in texts
    assert "engine onnxruntime in fp32 on the self-test of golden: differs by" in texts
    assert "cache" in texts


def test_a_damaged_model_is_status_4(models: Path) -> None:
    (models / "golden/model.onnx").write_bytes(b"other")
    findings = list(examine(gemm=False))
    assert [f.text.split(":")[0] for f in findings if f.exit_status] == ["E52 golden/model.onnx"]
    assert status(findings) == 4


def test_no_model_at_all_is_status_4(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MODELS", models / "none")
    assert status(list(examine(gemm=False))) == 4


@pytest.mark.parametrize("shift", [0.01, None], ids=["a moved centre", "no candidates"])
def test_an_engine_that_computes_something_else_is_status_5(
    shift: float | None, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with np.load(models / "golden/selftest.npz") as arrays:
        centers, scores = arrays["centers"][0], arrays["scores"][0]
    moved = Candidates(
        centers=centers + np.float32(shift or 0),
        diameters=np.ones(len(scores), np.float32),
        scores=scores,
        class_ids=np.ones(len(scores), np.int32),
    )
    fake = FakeEngine(lambda cube: Candidates.empty() if shift is None else moved)
    monkeypatch.setattr("picker_runtime.doctor.open_engine", lambda name, graph: fake)
    findings = list(examine(gemm=False))
    assert [finding.exit_status for finding in findings if finding.exit_status] == [5, 5]


def test_candidates_of_equal_scores_may_change_places(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with np.load(models / "golden/selftest.npz") as arrays:
        centers, scores = arrays["centers"][0], arrays["scores"][0]
    swapped = Candidates(
        centers=centers[::-1], diameters=np.ones(len(scores), np.float32), scores=scores[::-1],
        class_ids=np.ones(len(scores), np.int32),
    )  # fmt: skip
    monkeypatch.setattr("picker_runtime.doctor.open_engine", lambda name, graph: FakeEngine(lambda cube: swapped))
    assert status(list(examine(gemm=False))) == 0


def test_an_engine_that_takes_one_class_for_another_fails(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with np.load(models / "golden/selftest.npz") as arrays:
        centers, scores, class_ids = (arrays[name][0] for name in ("centers", "scores", "class_ids"))
    for wrong in (class_ids, 1 - class_ids):
        found = Candidates(centers=centers, diameters=np.ones(len(scores), np.float32), scores=scores, class_ids=wrong)
        with monkeypatch.context() as patch:
            patch.setattr("picker_runtime.doctor.open_engine", lambda name, graph: FakeEngine(lambda cube: found))  # noqa: B023
            assert status(list(examine(gemm=False))) == (0 if wrong is class_ids else 5)


def test_a_cache_that_cannot_be_written_is_no_failure(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (models / "file").write_text("")
    monkeypatch.setenv("PICKER_CACHE_DIR", str(models / "file"))
    findings = list(examine(gemm=False))
    assert status(findings) == 0
    assert any("runs without it" in finding.text for finding in findings)


def test_a_cache_that_others_may_write_is_told_as_such(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = models / "shared/engines"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    monkeypatch.setenv("PICKER_CACHE_DIR", str(models / "shared"))
    [line] = [finding for finding in examine(gemm=False) if finding.text.startswith("cache ")]
    assert (line.mark, line.exit_status) == ("-", 0)
    assert "may be written by others" in line.text
    folder.chmod(0o700)
    (folder / "x.plan").write_bytes(b"0" * 2_000_000)
    [line] = [finding for finding in examine(gemm=False) if finding.text.startswith("cache ")]
    assert line.text.endswith("is writable, its engines take 2 MB")


def test_the_gemm_rate_is_that_of_the_fastest_product(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 0.5, 1.0, 1.25, 2.0, 3.0])  # products of 0.5, 0.25 and 1 s
    monkeypatch.setattr("picker_runtime.doctor.time.perf_counter", lambda: next(ticks))
    assert gemm_gflops(edge=100, repeats=3) == pytest.approx(2 * 100**3 / 0.25 / 1e9)


GPU = Gpu(index=0, name="A GPU", compute_capability=(8, 6), memory=2**34)
WITH_GPU = Driver(gpus=(GPU,), cuda=13000, version="580.1")
BROKEN = Driver(problem="the driver does not answer within 30 s", fix="restart the machine")


def on(monkeypatch: pytest.MonkeyPatch, driver: Driver, *, there: set[str]) -> None:
    """Let this machine have a driver, and of what GPU engines need only these."""
    for module in ("picker_runtime.doctor.probe_driver", "picker_runtime.engines.choice.probe_driver"):
        monkeypatch.setattr(module, lambda: driver)
    whole = SimpleNamespace(origin="/nowhere/__init__.py")
    monkeypatch.setattr(choice, "find_spec", lambda module: whole if module in there else None)


def test_without_a_driver_the_cpu_is_taken_and_nothing_fails(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, Driver(problem="no NVIDIA driver here", fix="install one", seen=False), there=set())
    findings = list(examine(gemm=False))
    assert status(findings) == 0
    texts = [finding.text for finding in findings]
    assert "no GPU: no NVIDIA driver here. Fix, to use one: install one" in texts
    assert "auto takes the engine openvino: no NVIDIA driver here" in texts
    assert not any(text.startswith("engine tensorrt") for text in texts)


def test_a_broken_driver_is_told_with_its_fix(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, BROKEN, there=set())
    [line] = [
        finding.text for finding in examine(gemm=False) if "does not answer" in finding.text and "Fix" in finding.text
    ]
    assert line.endswith("restart the machine")


def test_every_usable_engine_is_tested_and_the_others_have_a_fix(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, WITH_GPU, there={"tensorrt_rtx", "cuda.bindings"})
    with np.load(models / "golden/selftest.npz") as arrays:
        centers, scores = arrays["centers"][0], arrays["scores"][0]
    same = Candidates(
        centers=centers, diameters=np.ones(len(scores), np.float32), scores=scores,
        class_ids=np.ones(len(scores), np.int32),
    )  # fmt: skip
    opened: list[str] = []

    def fake(name: str, graph: Path) -> FakeEngine:
        opened.append(name)
        return FakeEngine(lambda cube: same)

    monkeypatch.setattr("picker_runtime.doctor.open_engine", fake)
    findings = list(examine(gemm=False))
    assert status(findings) == 0
    assert opened == ["tensorrt-rtx", "openvino", "onnxruntime"]
    texts = [finding.text for finding in findings]
    assert "driver 580.1 for CUDA 13.0" in texts
    assert "GPU 0: A GPU (compute capability 8.6, 16 GiB)" in texts
    assert "engine tensorrt: tensorrt is not installed. Fix: pip install 'picker-cryoet[tensorrt]'" in texts
    [chosen] = [text for text in texts if text.startswith("auto takes")]
    assert chosen.startswith("auto takes the engine tensorrt-rtx: runs on A GPU")


def test_an_engine_in_a_process_of_its_own_passes(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As GPU engines do, it takes voxels from files only."""
    on(monkeypatch, WITH_GPU, there={"tensorrt_rtx", "cuda.bindings"})

    def apart(name: str, graph: Path) -> ChildEngine:
        arguments = {"name": "openvino", "graph": str(graph), "threads": 1}
        return ChildEngine(name, factory="runtime.engines.child_engines:opened", arguments=arguments)

    monkeypatch.setattr("picker_runtime.doctor.open_engine", apart)
    findings = list(examine(gemm=False))
    assert status(findings) == 0
    assert any(f.text.startswith("engine tensorrt-rtx in fp32 on the self-test of golden: differs") for f in findings)


def test_a_gpu_without_memory_is_a_finding_and_the_rest_is_checked(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, WITH_GPU, there={"tensorrt_rtx", "cuda.bindings"})
    real = open_engine

    def full(cube: object) -> Candidates:
        raise TileTooLarge((48, 48, 48))

    def fake(name: str, graph: Path) -> object:
        return FakeEngine(full) if name == "tensorrt-rtx" else real(name, graph, threads=1)

    monkeypatch.setattr("picker_runtime.doctor.open_engine", fake)
    findings = list(examine(gemm=False))
    [failed] = [finding for finding in findings if finding.exit_status]
    assert failed.text.startswith("E61 tensorrt-rtx: no memory for the self-test of golden")
    assert any(finding.text.startswith("engine openvino in fp32") for finding in findings)


def test_a_model_of_one_s_own_is_examined_instead(models: Path, tmp_path: Path) -> None:
    own = golden_bundle(tmp_path / "own")
    texts = [finding.text for finding in examine(gemm=False, models=[str(own)])]
    assert [text for text in texts if text.startswith("model ")] == [f"model {own} 1: 1 files match their sha256"]
    [failed] = [finding for finding in examine(gemm=False, models=["none"]) if finding.exit_status]
    assert (failed.exit_status, failed.text[:8]) == (4, "E50 none")


def test_the_onnx_runtime_for_cpus_is_no_failed_gpu_engine(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, WITH_GPU, there={"onnxruntime", "cuda.bindings"})
    monkeypatch.setattr(choice, "installed", lambda name: None)
    findings = list(examine(gemm=False))
    assert status(findings) == 0
    [line] = [finding for finding in findings if finding.text.startswith("engine cuda: ")]
    assert line.mark == "-"
    assert (
        "is the one for CPUs. Fix: pip uninstall -y onnxruntime onnxruntime-gpu, then pip install 'picker-cryoet[cuda]'"
        in line.text
    )


def test_a_gpu_engine_that_fails_is_status_5_with_its_fix(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, WITH_GPU, there={"onnxruntime", "cuda.bindings"})
    monkeypatch.setattr(choice, "installed", lambda name: "1")
    real = open_engine

    def fake(name: str, graph: Path) -> object:
        if name == "cuda":
            raise EngineError(60, "cuda", "would run Conv on the CPU", "update the driver")
        return real(name, graph, threads=1)

    monkeypatch.setattr("picker_runtime.doctor.open_engine", fake)
    [failed] = [finding for finding in examine(gemm=False) if finding.exit_status]
    assert (failed.exit_status, failed.mark) == (5, "FAIL")
    assert failed.text == "E60 cuda: would run Conv on the CPU. Fix: update the driver."

"""The detector `paper` keeps the contract of every graph, and the engines of the runtime run it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from training.phantoms import CLASSES, SMALL, write_phantoms

from picker_export import bundling
from picker_export.cli import app
from picker_export.half import to_half
from picker_export.onnx_export import export_graph
from picker_runtime import console
from picker_runtime.bundle import Bundle
from picker_runtime.engines import open_engine
from picker_runtime.engines.cpu import Arrays
from picker_runtime.onnx_safety import check_graph
from picker_training import training_data
from picker_training.checkpoint import Checkpoint, save_checkpoint
from picker_training.config import DataSection, ModelSection, OptimiserSection, TrainingConfig
from picker_training.datasets import scenes
from picker_training.detectors.decode import DecodedDetector
from picker_training.detectors.options import MENDED, PaperOptions
from picker_training.detectors.paper import PaperDetector
from picker_training.model_card import load_network
from picker_training.run_terms import bind_run
from picker_training.torch_engine import TorchEngine

pytestmark = pytest.mark.long  # three exports
SLOTS = 64
PUBLISHED = PaperOptions(width=4, blocks=(0, 1, 0, 0, 1), confidence=0.3)
VARIANTS = {"published": PUBLISHED, "mended": replace(MENDED, width=4, blocks=PUBLISHED.blocks)}


def lively(options: PaperOptions) -> DecodedDetector:
    """Return a network whose BatchNorm knows noise, so that its scores spread over the whole range."""
    torch.manual_seed(0)
    network = PaperDetector(3, options)
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm3d)):
        norm.momentum = 1.0
        nn.init.normal_(norm.weight, 0.0, 1.5)
    with torch.no_grad():
        network.train()(torch.randn(2, 1, 48, 48, 48))
    return DecodedDetector(network.eval(), torch.tensor([6.0, 9.0, 15.0]), SLOTS).eval()


@pytest.fixture(scope="module", params=sorted(VARIANTS))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[PaperOptions, Path]:
    path = tmp_path_factory.mktemp("paper") / "model.onnx"
    options = VARIANTS[request.param]
    export_graph(lively(options), path)
    return options, path


def inputs(n: int, *edges: int) -> Arrays:
    rng = np.random.default_rng(sum(edges))
    return {
        "cubes": rng.normal(100.0, 20.0, (n, 1, *edges)).astype(np.float32),
        "mean": np.linspace(95.0, 105.0, n).astype(np.float32),
        "inverse_std": np.linspace(0.05, -0.04, n).astype(np.float32),
    }


@pytest.mark.parametrize("shape", [(1, 32, 32, 32), (2, 32, 48, 64)])
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_engines_agree_with_pytorch(
    exported: tuple[PaperOptions, Path], engine: str, shape: tuple[int, int, int, int]
) -> None:
    options, graph = exported
    values = inputs(*shape)
    with TorchEngine(lively(options)) as reference, open_engine(engine, graph, threads=1) as other:
        wanted, found = reference.infer(values), other.infer(values)  # type: ignore[attr-defined]
    assert found["scores"] == pytest.approx(wanted["scores"], abs=1e-4)
    gaps = np.diff(wanted["scores"], axis=1, prepend=np.inf, append=-np.inf)
    clear = (wanted["scores"] > 0) & (-gaps[:, :-1] > 1e-4) & (-gaps[:, 1:] > 1e-4)  # ties may swap places
    assert np.count_nonzero(clear) > 10
    assert found["centers"][clear] == pytest.approx(wanted["centers"][clear], abs=1e-2)
    assert found["diameters"][clear] == pytest.approx(wanted["diameters"][clear], rel=1e-3)
    assert found["class_ids"][clear].tolist() == wanted["class_ids"][clear].tolist()
    assert len(np.unique(wanted["diameters"][clear])) > 5  # sizes are predicted, not looked up


def test_the_graph_keeps_the_contract(exported: tuple[PaperOptions, Path]) -> None:
    _, path = exported
    check_graph(path)
    model = onnx.load(path)
    assert [value.name for value in model.graph.output] == ["centers", "diameters", "scores", "class_ids"]
    assert all(value.type.tensor_type.shape.dim[1].dim_value == SLOTS for value in model.graph.output)
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"BatchNormalization", "NonZero", "NonMaxSuppression", "Loop", "If", "Scan", "ScatterND"}
    assert {"Conv", "TopK", "Resize"} <= operators


def test_its_convolutions_can_be_float16_and_its_decoding_stays_float32(exported: tuple[PaperOptions, Path]) -> None:
    _, path = exported
    half = to_half(onnx.load(path))
    kinds = {tensor.data_type for tensor in half.graph.initializer if tensor.name.endswith(".half")}
    assert kinds == {onnx.TensorProto.FLOAT16}
    assert {v.type.tensor_type.elem_type for v in half.graph.output} <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT32}


def test_a_run_becomes_a_bundle_that_detects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole path, from weights drawn by chance; the published network's files are larger than what is packaged."""
    options = replace(PUBLISHED, confidence=0.8)  # of many boxes by chance some overlap by what engines round apart
    config = TrainingConfig(
        workers=0,
        model=ModelSection(name="tiny-paper", classes=CLASSES, detector="paper"),
        paper=options,
        data=DataSection(scenes=1, strangers=(), crop=32, halo=4),
        optimiser=OptimiserSection(steps=2, batch=2),
    )
    templates, run, folder = write_phantoms(tmp_path / "templates"), tmp_path / "run", tmp_path / "bundle"
    monkeypatch.setattr(scenes, "training_spec", lambda rng, voxel_size: SMALL)
    monkeypatch.setattr(training_data, "CALIBRATION_SHAPE", (64, 64, 64))
    monkeypatch.setattr(training_data, "CALIBRATION_PARTICLES", 12)
    monkeypatch.setattr(training_data, "CALIBRATION_SEEDS", (8001, 8002))
    monkeypatch.setattr(training_data, "CALIBRATION_SNRS", (0.5,))
    monkeypatch.setattr(bundling, "NORM_BATCHES", 2)
    monkeypatch.setattr(bundling, "MAX_FILE_BYTES", 1000)
    run.mkdir()
    bind_run(run, config)
    network = lively(options).network
    with torch.no_grad():
        for norm in (m for m in network.head.modules() if isinstance(m, nn.BatchNorm3d)):
            norm.weight *= 0.2  # scores of exactly 1 are ties, which engines break each in its own way
    weights = network.state_dict()
    save_checkpoint(run, Checkpoint(step=2, weights=weights, average=weights, optimiser={}))
    arguments = ["onnx", str(run), "--templates", str(templates), "-o", str(folder), "--large"]
    assert console.run(app, "picker-export", arguments) == 0
    bundle = Bundle.open(folder)
    assert (bundle.card.output_stride, bundle.card.alignment) == (4, 16)
    assert bundle.card.nms_fraction == pytest.approx(2 / 3)
    assert bundle.card.training["architecture"]["detector"] == "paper"
    selftest = bundle.selftest()
    assert selftest is not None
    assert selftest["cubes"].shape == (1, 1, 64, 64, 64)
    network = load_network(bundle)
    assert isinstance(network, PaperDetector)
    assert network.options == options

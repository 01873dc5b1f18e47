"""From a file to picks with the pipeline on the fake device and a real model; what a batch tells its engine."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from golden.blob_graph import scattered, volume_with_blobs
from runtime.engines.fake_device import FakeDevice, FakeExecution, FakeNetwork

from picker_runtime.bundle import Bundle
from picker_runtime.detector import Picker
from picker_runtime.engines import open_engine
from picker_runtime.engines.base import FakeEngine
from picker_runtime.engines.cpu import INPUTS, OUTPUTS
from picker_runtime.engines.driver import probe_driver
from picker_runtime.engines.gpu import GpuEngine
from picker_runtime.engines.gpu_pipeline import GpuPipeline
from picker_runtime.errors import EngineError
from picker_runtime.file_voxels import FileVoxels
from picker_runtime.mrc import write_mrc
from picker_runtime.scanning import Scanner
from picker_runtime.tomogram import Tomogram

SHAPE = (64, 72, 80)


class OnnxNetwork(FakeNetwork):
    """A model's own graph, run on the host when the fake device gets to it."""

    def __init__(self, device: FakeDevice, graph: Path, candidates: int) -> None:
        super().__init__(device)
        self.slots = candidates
        self.session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])

    def bind(self, cubes: tuple[int, ...], buffers: Any) -> FakeExecution:
        execution = super().bind(cubes, buffers)

        def infer() -> None:
            tensors = {}
            for name in (*INPUTS, *OUTPUTS):
                spec = execution.specs[name]
                memory = self.device.bytes_at(buffers[name].address, spec.nbytes)
                tensors[name] = memory.view(spec.dtype).reshape(spec.shape)
            results = self.session.run(list(OUTPUTS), {name: tensors[name] for name in INPUTS})
            for name, result in zip(OUTPUTS, results, strict=True):
                tensors[name][:] = result

        execution._infer = infer  # type: ignore[method-assign]
        return execution


@pytest.mark.parametrize("dtype", ["f4", "i2"])
def test_the_same_is_found_as_on_the_cpu(dtype: str, golden_model: Path, tmp_path: Path) -> None:
    bundle, device = Bundle.open(str(golden_model)), FakeDevice(chance=0.3)
    volume = volume_with_blobs(SHAPE, scattered(SHAPE, count=30, apart=12, margin=6))
    write_mrc(tmp_path / "a.mrc", (volume * 1000).astype(dtype), 10.0)
    engines = [
        open_engine("onnxruntime", bundle.graph, threads=1, batch=2),
        GpuPipeline(
            "fake",
            open_device=lambda: device,
            open_network=lambda cubes, _, say: OnnxNetwork(device, bundle.graph, bundle.card.max_candidates),
            batch=2,
        ),
    ]
    found = []
    for engine in engines:
        with engine, Tomogram.open(tmp_path / "a.mrc") as tomogram:
            scanner = Scanner(engine=engine, card=bundle.card, tile=(48, 48, 48), halo=bundle.card.halo)
            found.append(scanner.scan(tomogram).candidates)
    assert len(found[0]) >= 30
    for name in ("positions", "diameters", "scores", "class_ids"):
        np.testing.assert_array_equal(getattr(found[0], name), getattr(found[1], name))


class Announced(FakeEngine):
    def __init__(self) -> None:
        self.names: list[tuple[str, tuple[int, ...]]] = []

    def prefetch(self, voxels: FileVoxels) -> None:
        self.names.append((voxels.name, voxels.shape))


def test_an_engine_is_told_what_comes_next_and_bad_files_are_left_for_their_turn(
    golden_model: Path, tmp_path: Path
) -> None:
    write_mrc(tmp_path / "a.mrc", np.zeros((16, 17, 18), np.float32), 10.0)
    (tmp_path / "b.mrc").write_text("no tomogram")
    picker = Picker(golden_model, engine="openvino", threads=1)
    picker.expect(tmp_path / "a.mrc")  # an engine that cannot use it
    picker.close()
    picker._engine = engine = Announced()
    with picker:
        for name in ("a.mrc", "b.mrc", "c.mrc"):
            picker.expect(tmp_path / name)
    assert engine.names == [("a.mrc", (16, 17, 18))]


def test_a_gpu_engine_without_a_gpu_says_so_from_its_process(golden_model: Path) -> None:
    if probe_driver().gpus:
        pytest.skip("there is a GPU here")
    with pytest.raises(EngineError) as caught:
        GpuEngine("cuda", golden_model / "model.onnx").__enter__()
    assert caught.value.code in (60, 63)  # its library, or all that needs a driver

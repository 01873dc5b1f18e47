"""Every GPU engine that this machine can use, on the bundled model's self-test: build, load, bind, run, replay."""

from pathlib import Path

import numpy as np
import pytest

from picker_runtime import doctor
from picker_runtime.bundle import Bundle
from picker_runtime.engines.base import Candidates
from picker_runtime.engines.choice import GPU_ENGINES, obstacle_to_choosing
from picker_runtime.engines.cpu import INPUTS, OUTPUTS
from picker_runtime.engines.driver import probe_driver
from picker_runtime.engines.networks import open_network


@pytest.mark.gpu
@pytest.mark.parametrize("name", GPU_ENGINES)
def test_it_finds_what_came_with_the_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    obstacle = obstacle_to_choosing(name, probe_driver())
    if obstacle is not None:
        pytest.skip(f"{name}: {obstacle.problem}")
    from picker_runtime.engines.cuda import CudaDevice

    monkeypatch.setenv("PICKER_CACHE_DIR", str(tmp_path))
    bundle = Bundle.open("shrec12")
    arrays = bundle.selftest()
    assert arrays is not None
    device = CudaDevice()
    stream = device.create_stream()
    network = open_network(name, bundle.graph, arrays["cubes"].shape, device)
    tensors = network.tensors(arrays["cubes"].shape)
    buffers = {key: device.allocate(spec.nbytes) for key, spec in tensors.items()}
    pinned = {key: device.allocate_pinned(spec.nbytes) for key, spec in tensors.items()}
    for key in INPUTS:
        pinned[key].array[:] = np.frombuffer(arrays[key].astype(np.float32).tobytes(), np.uint8)
        device.copy_to_device_async(pinned[key], buffers[key], tensors[key].nbytes, stream=stream)
    execution = network.bind(arrays["cubes"].shape, buffers)
    execution.enqueue(stream)
    device.synchronise(stream)
    if execution.capturable:
        device.begin_capture(stream)
        execution.enqueue(stream)
        device.replay(device.end_capture(stream), stream)
    for key in OUTPUTS:
        device.copy_to_host_async(buffers[key], pinned[key], tensors[key].nbytes, stream=stream)
    device.synchronise(stream)
    found = {key: pinned[key].array.view(tensors[key].dtype).reshape(tensors[key].shape)[0].copy() for key in OUTPUTS}
    assert found["scores"] == pytest.approx(arrays["scores"][0], abs=1e-3)
    assert doctor._difference(Candidates(**found), arrays, bundle.card.candidate_floor) < 1e-2
    by_class = dict(zip(arrays["class_ids"][0].tolist(), arrays["diameters"][0].tolist(), strict=True))
    picked = found["scores"] >= bundle.card.candidate_floor
    expected = [by_class[particle] for particle in found["class_ids"][picked].tolist()]
    assert found["diameters"][picked].tolist() == pytest.approx(expected, rel=1e-3)
    execution.close()
    network.close()
    device.close()

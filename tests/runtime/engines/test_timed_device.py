"""The stages of the GPU pipeline, timed one after another, find what the pipeline finds; rehearsed without a GPU."""

from pathlib import Path

import numpy as np
from benchmark.stage_case import on_cpu, on_gpu
from benchmark.timed_device import TimedDevice, TimedNetwork
from golden.blob_graph import scattered, volume_with_blobs
from runtime.engines.fake_device import FakeDevice
from runtime.engines.test_gpu_picks import OnnxNetwork

from picker_runtime import tiling
from picker_runtime.bundle import Bundle
from picker_runtime.engines import open_engine
from picker_runtime.engines.gpu_pipeline import GpuPipeline
from picker_runtime.intensity import NormalisedSource, measure
from picker_runtime.mrc import write_mrc
from picker_runtime.tiling import Tile
from picker_runtime.tomogram import Tomogram

SHAPE = (48, 64, 72)
STAGES = {"upload", "orders", "cut", "network", "results"}


def tiles(bundle: Bundle) -> list[Tile]:
    card = bundle.card
    return tiling.plan(
        SHAPE, tile=(48, 48, 48), halo=card.halo, margin=card.margin, alignment=card.alignment,
        output_stride=card.output_stride, min_cells=card.max_candidates,
    )  # fmt: skip


def write(path: Path) -> Path:
    write_mrc(path, volume_with_blobs(SHAPE, scattered(SHAPE, count=20, apart=12, margin=6)), 10.0)
    return path


def test_every_stage_gets_its_time_and_the_candidates_stay_the_same(golden_model: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(str(golden_model))
    slots = bundle.card.max_candidates
    with Tomogram.open(write(tmp_path / "a.mrc")) as tomogram:
        source = NormalisedSource(tomogram, measure(tomogram))
        plain, slow = FakeDevice(chance=0.3), TimedDevice(FakeDevice(chance=0.3))
        found = []
        for device, network in (
            (plain, lambda *_: OnnxNetwork(plain, bundle.graph, slots)),
            (slow, lambda *_: TimedNetwork(OnnxNetwork(slow._device, bundle.graph, slots), slow)),
        ):
            with GpuPipeline(
                "fake", open_device=lambda device=device: device, open_network=network, batch=1
            ) as pipeline:
                found.append([candidates for _, candidates in pipeline.stream(source, tiles(bundle))])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one.centers, other.centers)
        np.testing.assert_array_equal(one.scores, other.scores)
    assert set(slow.seconds) == STAGES | {"first run"}
    assert all(seconds > 0 for seconds in slow.seconds.values())


def test_stages_of_a_gpu_are_those_of_a_second_pass_but_for_the_upload(golden_model: Path, tmp_path: Path) -> None:
    bundle, device = Bundle.open(str(golden_model)), FakeDevice()
    with Tomogram.open(write(tmp_path / "a.mrc")) as tomogram:
        seconds = on_gpu(
            "fake",
            open_device=lambda: device,
            open_network=lambda *_: OnnxNetwork(device, bundle.graph, bundle.card.max_candidates),
            source=NormalisedSource(tomogram, measure(tomogram)),
            tiles=tiles(bundle),
            batch=1,
        )
    assert set(seconds) == STAGES
    assert device.closed


def test_stages_of_a_cpu_are_reading_and_the_network(golden_model: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(str(golden_model))
    with Tomogram.open(write(tmp_path / "a.mrc")) as tomogram, open_engine("openvino", bundle.graph) as engine:
        seconds = on_cpu(engine, NormalisedSource(tomogram, measure(tomogram)), tiles(bundle))
    assert set(seconds) == {"read", "network"}
    assert all(value > 0 for value in seconds.values())

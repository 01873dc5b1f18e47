import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from golden.blob_graph import LARGE, SMALL, blob_graph, scattered, volume_with_blobs

from picker_runtime.engines import ENGINES, open_engine
from picker_runtime.engines.base import Candidates, Engine
from picker_runtime.errors import EngineError, ModelError, UsageError
from picker_runtime.geometry import Box
from picker_runtime.tiling import Tile, plan
from picker_runtime.tomogram import Tomogram

SHAPE = (40, 48, 44)
POSITIONS = scattered(SHAPE, count=12, apart=11, margin=6)
VOLUME = volume_with_blobs(SHAPE, POSITIONS, np.where(np.arange(len(POSITIONS)) % 2, LARGE, SMALL))
TILES = plan(SHAPE, tile=(32, 32, 32), halo=4, margin=4, alignment=4, output_stride=2, min_cells=64)


class Voxels:
    """A source of one array, some of whose boxes cannot be read."""

    def __init__(self, *, mean: float = 0.0, scale: float = 1.0, unreadable: tuple[Box, ...] = ()) -> None:
        self.mean, self.inverse_std = mean, 1 / scale
        self._tomogram = Tomogram.from_array(VOLUME * np.float32(scale) + np.float32(mean), 10.0)
        self._unreadable = unreadable

    def read(self, box: Box) -> np.ndarray | None:
        return None if box in self._unreadable else self._tomogram.read(box)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return blob_graph(tmp_path_factory.mktemp("graph") / "model.onnx")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, graph: Path) -> Iterator[Engine]:
    with open_engine(request.param, graph, threads=1, batch=3) as opened:
        yield opened


def same(one: Candidates, other: Candidates, tolerance: float = 1e-4) -> None:
    np.testing.assert_allclose(one.centers, other.centers, atol=tolerance)
    np.testing.assert_allclose(one.scores, other.scores, atol=tolerance)
    np.testing.assert_allclose(one.diameters, other.diameters, atol=tolerance)
    np.testing.assert_array_equal(one.class_ids, other.class_ids)


def test_every_tile_comes_once_in_the_order_given(engine: Engine) -> None:
    assert len(TILES) % engine.batch  # the last batch is not full
    found = list(engine.stream(Voxels(), TILES))
    assert [tile for tile, _ in found] == TILES
    assert sum(len(candidates.scores) for _, candidates in found) >= len(POSITIONS)


def test_candidates_are_typed_sorted_and_positive(engine: Engine) -> None:
    for _, found in engine.stream(Voxels(), TILES):
        types = (found.centers.dtype, found.diameters.dtype, found.scores.dtype, found.class_ids.dtype)
        assert types == (np.float32, np.float32, np.float32, np.int32)
        assert np.all(found.scores > 0)
        assert np.all(np.diff(found.scores) <= 0)


def test_a_tile_that_cannot_be_read_has_no_candidates_and_moves_no_other(engine: Engine) -> None:
    whole = dict(engine.stream(Voxels(), TILES))
    for lost in (TILES[:1], TILES[1:3], TILES[:3]):  # the last is a whole batch
        holed = dict(engine.stream(Voxels(unreadable=tuple(tile.cube for tile in lost)), TILES))
        for tile in TILES:
            same(holed[tile], Candidates.empty() if tile in lost else whole[tile])


def test_values_are_normalised_in_the_graph(engine: Engine) -> None:
    plain = dict(engine.stream(Voxels(), TILES))
    scaled = dict(engine.stream(Voxels(mean=-300.0, scale=25.0), TILES))
    for tile in TILES:
        same(plain[tile], scaled[tile], tolerance=1e-3)


def test_tiles_of_other_shapes_follow_in_one_stream(engine: Engine) -> None:
    other = plan(SHAPE, tile=(40, 24, 24), halo=4, margin=4, alignment=4, output_stride=2, min_cells=64)
    mixed = [*TILES[:2], *other[:4], *TILES[2:3], *other[4:5]]
    alone = dict(engine.stream(Voxels(), TILES)) | dict(engine.stream(Voxels(), other))
    for tile, found in engine.stream(Voxels(), mixed):
        same(found, alone[tile])


def test_the_engines_agree(graph: Path) -> None:
    results = []
    for name in ENGINES:
        with open_engine(name, graph, threads=1) as engine:
            results.append([found for _, found in engine.stream(Voxels(), TILES)])
    for one, other in zip(*results, strict=True):
        same(one, other)


def test_a_failed_read_reaches_the_caller(engine: Engine) -> None:
    class Broken(Voxels):
        def read(self, box: Box) -> np.ndarray | None:
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        list(engine.stream(Broken(), TILES))


def test_a_failure_of_the_library_is_an_engine_error(engine: Engine) -> None:
    tiny = Tile(*[Box((0, 0, 0), (2, 2, 2))] * 3)  # fewer cells than candidates
    with pytest.raises(EngineError, match="E61") as caught:
        list(engine.stream(Voxels(), [tiny]))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ENGINES)
def test_what_is_no_model_graph_is_refused(name: str, graph: Path, tmp_path: Path) -> None:
    (tmp_path / "noise.onnx").write_bytes(b"\x08\x07noise")
    model = onnx.load(graph)
    model.graph.output.pop()
    onnx.save(model, tmp_path / "short.onnx")
    for file in ("noise.onnx", "short.onnx"):
        with pytest.raises(ModelError, match=f"E53 {file}"), open_engine(name, tmp_path / file, threads=1):
            pass


@pytest.mark.parametrize("name", ENGINES)
def test_a_missing_library_is_an_engine_error(name: str, graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EngineError, match=r"E60 .*pip install 'picker-cryoet"), open_engine(name, graph):
        pass


def test_what_an_uninstalled_library_left_is_no_library(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remnant = ModuleType("onnxruntime")
    remnant.__path__ = ["/lib/onnxruntime"]
    monkeypatch.setitem(sys.modules, "onnxruntime", remnant)
    with pytest.raises(
        EngineError, match=r"E60 onnxruntime: is not whole: nothing but a folder \(/lib/onnxruntime\)\. Fix: pip unin"
    ):
        open_engine("onnxruntime", graph).__enter__()


def test_auto_is_the_first_and_a_stranger_is_refused(graph: Path) -> None:
    assert open_engine("auto", graph).name == "openvino"
    with pytest.raises(UsageError, match="E80"):
        open_engine("abacus", graph)


def test_openvino_runs_without_its_telemetry(graph: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from picker_runtime.engines import open_engine\n"
        f"with open_engine('openvino', Path({str(graph)!r}), threads=1): pass\n"
        "print([m for m in sys.modules if m.startswith('openvino_telemetry')])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "[]")
    assert list(tmp_path.iterdir()) == []

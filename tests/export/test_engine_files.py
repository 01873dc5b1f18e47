"""`picker-export engine`: engines into the cache or a file; TensorRT-RTX builds them here without a GPU."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from picker_export import engine_files
from picker_export.cli import app
from picker_runtime.bundle import Bundle, write_card
from picker_runtime.console import run
from picker_runtime.engines.driver import Driver, Gpu, probe_driver

needs_rtx = pytest.mark.usefixtures("rtx")


@pytest.fixture
def rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX (extra rtx) cannot be installed here")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PICKER_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache/engines"


def engine(*arguments: object) -> tuple[dict, str]:
    result = CliRunner().invoke(app, ["engine", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0
    return json.loads(result.stdout), result.stderr


@needs_rtx
def test_it_goes_to_the_cache_and_is_built_once(cache: Path) -> None:
    facts, said = engine("--tile", 48, 48, 40, "--batch", 1, "--precision", "fp32")
    assert (facts["library"], facts["precision"]) == ("tensorrt-rtx", "fp32")
    assert facts["cubes"] == [1, 1, 48, 48, 40]
    assert Path(facts["file"]).parent == cache
    assert Path(facts["file"]).stat().st_size == facts["bytes"]
    assert "building a tensorrt-rtx engine for cubes of 1x1x48x48x40, once" in said
    again, said = engine("--tile", 48, 48, 40, "--batch", 1, "--precision", "fp32")
    assert (again["file"], said) == (facts["file"], "")
    other, _ = engine("--tile", 48, 48, 40, "--batch", 2, "--precision", "fp32")
    assert other["file"] != facts["file"]
    assert other["cubes"] == [2, 1, 48, 48, 40]


@needs_rtx
@pytest.mark.parametrize(
    ("memory", "options", "cubes"),
    [(None, [], [2, 1, 200, 192, 272]), (2**37, [], [2, 1, 200, 192, 272]), (2**32, [], [1, 1, 200, 192, 272]),
     (2**37, ["--batch", "3"], [3, 1, 200, 192, 272]), (None, ["--tile", "96", "96", "96"], [15, 1, 88, 96, 96])],
)  # fmt: skip
def test_cubes_and_batch_are_those_that_detection_takes(
    memory: int | None, options: list[str], cubes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(200, 512, 512) is six tiles of 10.4 million voxels: two keep a GPU busy, two do not fit in 4 GiB.

    Up to 96^3 it is 192, balanced: as large as 3 x 8 x 8 have to be.
    """
    gpus = () if memory is None else (Gpu(index=0, name="A GPU", compute_capability=(8, 6), memory=memory),)
    monkeypatch.setattr(engine_files, "probe_driver", lambda: Driver(gpus=gpus))
    monkeypatch.setattr(engine_files, "announced_build", lambda *_, **__: b"plan")
    facts, _ = engine("--tomogram", 200, 512, 512, "-o", tmp_path / "plan", *options)
    assert facts["cubes"] == cubes


@pytest.fixture
def without_half(tmp_path: Path) -> Path:
    """The bundled model without its float16 graph."""
    bundled = Bundle.open("shrec12")
    folder = tmp_path / "model"
    shutil.copytree(bundled.folder, folder, ignore=shutil.ignore_patterns("*.fp16.onnx"))
    write_card(folder, bundled.card)
    return folder


@needs_rtx
def test_the_float16_engine_of_a_bundle_without_one_is_converted(
    tmp_path: Path, cache: Path, without_half: Path
) -> None:
    half, said = engine(without_half, "--tile", 48, 48, 48, "--batch", 1, "-o", tmp_path / "half.plan")
    full, _ = engine("--tile", 48, 48, 48, "--batch", 1, "--precision", "fp32", "-o", tmp_path / "full.plan")
    assert "converting its float32 graph" in said
    assert (half["precision"], full["precision"]) == ("fp16", "fp32")
    assert (tmp_path / "half.plan").stat().st_size < 0.7 * (tmp_path / "full.plan").stat().st_size
    assert not cache.exists()


@pytest.mark.skipif(not probe_driver().problem, reason="there is a GPU here")
def test_the_full_library_needs_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, "picker-export", ["engine", "--library", "tensorrt"]) == 5
    assert "E60 tensorrt: builds only on the GPU it is for: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "values", "problem"),
    [("--library", ["trt"], "E80 --library"), ("--precision", ["int8"], "E80 --precision"),
     ("--tile", ["16", "64", "64"], "E80 --tile"), ("--compatible", [], "E80 --compatible")],
)  # fmt: skip
def test_what_makes_no_sense_is_a_usage_error(
    option: str, values: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(app, "picker-export", ["engine", option, *values]) == 2
    assert problem in capsys.readouterr().err


def test_a_graph_that_cannot_be_float16_is_an_error_with_a_way_out(
    tmp_path: Path, without_half: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(model: object) -> None:
        raise ValueError("a weight is too large")

    monkeypatch.setattr("picker_export.half.to_half", refuse)
    assert run(app, "picker-export", ["engine", str(without_half), "-o", str(tmp_path / "x.plan")]) == 5
    assert "E62 model.onnx: cannot be float16: a weight is too large. Fix: use --precision" in capsys.readouterr().err


@needs_rtx
def test_a_cache_that_others_may_write_is_refused(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    assert run(app, "picker-export", ["engine", "--tile", "48", "48", "48", "--batch", "1"]) == 5
    assert "is no folder of yours alone" in capsys.readouterr().err

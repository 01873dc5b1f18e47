"""From a training run to a bundle that detects: tiny, but the whole path."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from export.tiny_detectors import lively
from golden.blob_graph import golden_bundle
from integration.command_line import picker
from training.phantoms import CLASSES, SMALL, write_phantoms

from picker_export import bundling, facts
from picker_export.cli import app
from picker_export.facts import describe
from picker_export.judging import Judgement
from picker_runtime import console
from picker_runtime.bundle import Bundle, write_card
from picker_runtime.engines import open_engine
from picker_runtime.errors import UsageError
from picker_runtime.mrc import write_mrc
from picker_training import training_data
from picker_training.checkpoint import Checkpoint, save_checkpoint
from picker_training.choice import Choice
from picker_training.config import DataSection, ModelSection, OptimiserSection, TrainingConfig
from picker_training.datasets import scenes
from picker_training.detectors.options import PointOptions
from picker_training.model_card import load_network
from picker_training.networks import build_network
from picker_training.run import load_average
from picker_training.run_terms import bind_run
from picker_training.simulator.scene import simulate
from picker_training.simulator.templates import load_templates

CONFIG = TrainingConfig(
    workers=0,
    model=ModelSection(name="tiny", classes=CLASSES),
    point=PointOptions(widths=(8, 8, 8), blocks=(0, 0, 0)),
    data=DataSection(scenes=1, strangers=(), crop=24, halo=4),
    optimiser=OptimiserSection(steps=2, batch=2),
)


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    return write_phantoms(tmp_path / "templates")


@pytest.fixture
def run(tmp_path: Path, templates: Path) -> Path:
    """A run folder whose network finds something everywhere, so that there is something to calibrate."""
    folder = tmp_path / "run"
    folder.mkdir()
    bind_run(folder, CONFIG)
    weights = lively(build_network(CONFIG)).state_dict()
    save_checkpoint(
        folder, Checkpoint(step=2, weights=build_network(CONFIG).state_dict(), average=weights, optimiser={})
    )
    return folder


@pytest.fixture
def small_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "training_spec", lambda rng, voxel_size: SMALL)
    monkeypatch.setattr(training_data, "CALIBRATION_SHAPE", (48, 64, 64))
    monkeypatch.setattr(training_data, "CALIBRATION_PARTICLES", 12)
    monkeypatch.setattr(training_data, "CALIBRATION_SEEDS", (8001, 8002))
    monkeypatch.setattr(training_data, "CALIBRATION_SNRS", (0.5,))
    monkeypatch.setattr(bundling, "NORM_BATCHES", 2)


@pytest.fixture
def export(run: Path, templates: Path, tmp_path: Path) -> Callable[..., int]:
    """The command `picker-export onnx` on the run."""

    def command(*options: str) -> int:
        return console.run(
            app,
            "picker-export",
            ["onnx", str(run), "--templates", str(templates), "-o", str(tmp_path / "tiny"), *options],
        )

    return command


@pytest.mark.long
@pytest.mark.usefixtures("small_calibration")
def test_a_run_becomes_a_bundle_that_detects(
    export: Callable[..., int], run: Path, tmp_path: Path, templates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "begun_with.json").write_text('{"model": "older", "version": "6"}')
    assert export("--version", "7", "--beta", "2") == 0
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [report.get("engine", report.get("precision")) for report in reports] == [
        "openvino", "onnxruntime", "fp16", "int8",
    ]  # fmt: skip
    assert all(report["passed"] and report["candidates"] > 100 for report in reports[:2])
    judged = {report["precision"]: report for report in reports[2:] if report["passed"]}

    bundle = Bundle.open(tmp_path / "tiny")
    card = bundle.card
    assert (card.name, card.version, card.class_names) == ("tiny", "7", CLASSES)
    assert (card.training["steps"], card.training["thresholds_beta"]) == (2, 2.0)
    assert card.training["begun_with"] == {"model": "older", "version": "6"}
    assert set(card.halo_curve) == {"0", "8", "16", "24", "32", "40"}
    assert set(card.files) >= {"model.onnx", "weights.safetensors", "selftest.npz"}
    assert set(bundle.graphs) == {"fp32", *judged} >= {"fp16"}
    assert card.metrics["precision"] == judged
    assert (tmp_path / "tiny/README.md").read_text() == describe(card)

    selftest = bundle.selftest()
    assert selftest is not None
    with open_engine("onnxruntime", bundle.graph, threads=1) as engine:
        outputs = engine.infer({name: selftest[name] for name in ("cubes", "mean", "inverse_std")})  # type: ignore[attr-defined]
    assert outputs["scores"] == pytest.approx(selftest["scores"], abs=1e-4)

    average, _ = load_average(run, CONFIG, torch.device("cpu"))
    shipped, trained = load_network(bundle).state_dict(), average.state_dict()
    assert torch.equal(shipped["head.weight"], trained["head.weight"].half().float())
    assert not torch.equal(shipped["stem.1.running_mean"], trained["stem.1.running_mean"])

    scene = simulate(replace(SMALL, shape=(48, 64, 64)), load_templates(templates, CLASSES), 1)
    write_mrc(tmp_path / "one.mrc", scene.tomogram(0.5), scene.voxel_size)
    detected = picker("detect", tmp_path / "one.mrc", "-o", tmp_path / "picks", "--model", tmp_path / "tiny")
    assert detected.status == 0, detected.stderr
    assert (tmp_path / "picks/one.csv").read_text().startswith("tomogram,class,score")


def test_a_bundle_is_not_called_like_one_that_comes_with_picker(
    run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert console.run(app, "picker-export", ["onnx", str(run), "-o", "shrec12"]) == 2
    assert capsys.readouterr().err.startswith("picker: E80 -o shrec12: --model shrec12 would mean the model")
    assert not Path("shrec12").exists()


def test_figures_go_on_the_card_of_the_folder_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    golden_bundle(tmp_path / "shrec12")
    (tmp_path / "a.json").write_text('{"bench": 1}')
    monkeypatch.chdir(tmp_path)
    assert console.run(app, "picker-export", ["metrics", "shrec12", "a.json"]) == 0
    card = Bundle.open(tmp_path / "shrec12").card
    assert (card.name, card.metrics) == ("golden", {"bench": 1})


@pytest.mark.parametrize(
    ("begun", "given", "licence"),
    [(None, None, "Apache-2.0"), ("CC-BY-NC-4.0", None, "CC-BY-NC-4.0"), ("CC-BY-NC-4.0", "MIT", "MIT")],
)
def test_the_licence_is_that_of_the_model_begun_with_unless_given(
    begun: str | None, given: str | None, licence: str, run: Path
) -> None:
    if begun:
        (run / "begun_with.json").write_text(json.dumps({"model": "older", "licence": begun}))
    assert facts.licence_of(facts.origin(run), given) == licence


def test_a_run_without_a_checkpoint_is_refused(
    export: Callable[..., int], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "checkpoint.pt").unlink()
    assert export() == 2
    assert capsys.readouterr().err.startswith("picker: E83 ")


@pytest.mark.parametrize(("given", "choice"), [((), None), (("--checkpoint", "best"), Choice.BEST)])
def test_which_weights_are_exported_can_be_chosen(
    given: tuple[str, ...], choice: Choice | None, export: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(_run: Path, _config: TrainingConfig, _device: torch.device, chosen: Choice | None) -> None:
        asked.append(chosen)
        raise UsageError(83, "run", "no checkpoint", "train first")

    monkeypatch.setattr(bundling, "load_average", load)
    assert export(*given) == 2
    assert asked == [choice]


@pytest.mark.parametrize(("option", "value"), [("--precision", "fp64"), ("--beta", "0"), ("--beta", "nan")])
def test_what_makes_no_sense_is_refused_before_any_work(
    option: str, value: str, export: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(option, value) == 2
    assert capsys.readouterr().err.startswith(f"picker: E80 {option} {value}: ")
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize(("asked", "status"), [((), 0), (("--precision", "int8"), 5)])
def test_a_precision_that_picks_worse_is_an_error_only_where_it_was_asked_for(
    asked: tuple[str, ...], status: int, export: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    worse = Judgement(
        precision="int8", f1=0.8, class_f1=0.8, float32_f1=0.9, float32_class_f1=0.9, pick_f1=0.8,
        median_shift_voxels=0.1,
    )  # fmt: skip
    monkeypatch.setattr(bundling, "export_run", lambda *_: [worse])
    assert export(*asked) == status


def test_an_output_folder_that_cannot_be_written_is_told_first(run: Path, templates: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    arguments = ["onnx", str(run), "--templates", str(templates), "-o", str(tmp_path / "file/bundle")]
    assert console.run(app, "picker-export", arguments) == 6


def test_what_is_exported_is_the_moving_average(run: Path) -> None:
    network, step = load_average(run, CONFIG, torch.device("cpu"))
    assert step == 2
    assert not network.training
    assert torch.equal(network.head.weight, lively(build_network(CONFIG)).head.weight)


@pytest.mark.parametrize(("limits", "words"), [((10, 10**9), "model.onnx"), ((10**9, 10), "tiny")])
def test_a_bundle_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], words: str
) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/model.onnx").write_bytes(bytes(100))
    monkeypatch.setattr(bundling, "MAX_FILE_BYTES", limits[0])
    monkeypatch.setattr(bundling, "MAX_BUNDLE_BYTES", limits[1])
    with pytest.raises(UsageError, match=words) as caught:
        bundling._check_sizes(tmp_path / "tiny", "tiny")
    assert caught.value.code == 84


def test_measured_figures_go_on_the_card_and_into_the_readme(tmp_path: Path) -> None:
    folder = golden_bundle(tmp_path / "golden")
    card = write_card(folder, replace(Bundle.open(folder).card, metrics={"old": 1, "precision": {"int8": {"f1": 0.4}}}))
    files = (tmp_path / "a.json", folder / "b.json")  # in the model's folder, and no file of the model
    for path, text in zip(files, ('{"bench": {"f1": 0.5}}', '{"other": 1}'), strict=True):
        path.write_text(text)
    assert console.run(app, "picker-export", ["metrics", str(folder), *map(str, files)]) == 0
    assert Bundle.open(folder).card.files == card.files
    assert Bundle.open(folder).card.metrics == {
        "precision": {"int8": {"f1": 0.4}}, "bench": {"f1": 0.5}, "other": 1,
    }  # fmt: skip
    assert '"f1": 0.5' in (folder / "README.md").read_text()


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_figures_that_are_no_object_are_refused_and_the_card_stays(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = golden_bundle(tmp_path / "golden")
    before = (folder / "card.json").read_bytes()
    (tmp_path / "a.json").write_text(text)
    assert console.run(app, "picker-export", ["metrics", str(folder), str(tmp_path / "a.json")]) == 2
    assert "E80" in capsys.readouterr().err
    assert (folder / "card.json").read_bytes() == before


def test_what_was_trained_on_real_data_is_not_called_simulated(golden_model: Path) -> None:
    card = replace(Bundle.open(golden_model).card, training={"data": "annotated tomograms of some set"})
    assert "simulated" not in describe(card)


def test_the_readme_says_what_the_card_says(golden_model: Path) -> None:
    facts: dict[str, Any] = {"data": "simulated scenes", "steps": 2}
    card = replace(Bundle.open(golden_model).card, training=facts, metrics={"f1": 0.5})
    text = describe(card)
    for word in ("# golden 1", "bright", "| small | 50 | 0.20 |", "- steps: 2", '"f1": 0.5', "not known"):
        assert word in text

"""A lab's path: two tomograms and a STAR file in, a bundle out, and picks of a third, all through the command lines."""

import contextlib
import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from integration.command_line import Outcome, picker
from training.phantoms import CLASSES, SMALL, write_phantoms

from picker_export.cli import app as export_app
from picker_runtime.bundle import Bundle
from picker_runtime.console import run
from picker_runtime.formats import read_named_picks, star
from picker_runtime.formats.relion5 import CLASS, POSITION, TOMOGRAM
from picker_runtime.mrc import write_mrc
from picker_training.checkpoint import load_checkpoint
from picker_training.cli import app as training_app
from picker_training.config import load_config
from picker_training.model_card import load_network
from picker_training.picks_run import FINE_TUNING
from picker_training.simulator.scene import simulate
from picker_training.simulator.templates import load_templates

SPEC = replace(SMALL, shape=(48, 64, 64), particles=14)
NAMES = ("ts_1", "ts_2", "ts_3")
CONFIG = """workers = 0
[point]
widths = [8, 8, 8]
blocks = [0, 0, 0]
[data]
crop = 32
halo = 4
[optimiser]
steps = 120
learning_rate = 0.01
batch = 2
warmup = 10
checkpoint_every = 60
validate_every = 120
"""
CPU = ("--device", "cpu", "--threads", "1")
OPTIONS = [
    "--class",
    "1=ball",
    "--class",
    "2=bar",
    "--background",
    "3",
    "--diameter",
    "ball=110",
    "--diameter",
    "bar=150",
]


def training(*arguments: object) -> Outcome:
    return _run(training_app, "picker-training", arguments)


def export(*arguments: object) -> Outcome:
    return _run(export_app, "picker-export", arguments)


def _run(app: object, program: str, arguments: tuple[object, ...]) -> Outcome:
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        status = run(app, program, [str(argument) for argument in arguments])  # type: ignore[arg-type]
    return Outcome(status=status, stdout=stdout.getvalue(), stderr=stderr.getvalue())


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tomograms, a third one elsewhere, and one STAR file of the first two, as RELION 5 writes it."""
    folder = tmp_path_factory.mktemp("lab")
    templates = load_templates(write_phantoms(folder / "templates"), CLASSES)
    (folder / "tomograms").mkdir()
    rows = []
    for seed, name in enumerate(NAMES):
        scene = simulate(SPEC, templates, seed)
        path = folder / ("tomograms" if seed < 2 else ".") / f"{name}.mrc"
        write_mrc(path, scene.tomogram(2.0), 10.0)
        centred = (scene.placements.positions - np.array(SPEC.shape) / 2) * 10.0
        for (z, y, x), number in zip(centred.tolist(), scene.placements.class_ids.tolist(), strict=True):
            rows += [f"{name} {x:.3f} {y:.3f} {z:.3f} {number + 1}"] if seed < 2 else []
    np.save(folder / "ts_3.npy", scene.placements.positions[scene.placements.class_ids < 2])  # but the background's
    (folder / "particles.star").write_text(star.render("particles", [TOMOGRAM, *POSITION, CLASS], rows))
    (folder / "tiny.toml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def bundle(lab: Path) -> Path:
    """The model that the three commands make."""
    data = ["--tomograms", lab / "tomograms", "--picks", lab / "particles.star", *OPTIONS]
    linted = training("lint", *data)
    assert (linted.status, "error" in linted.stdout) == (0, False)
    assert "28 picks, 2 tomograms: 0 errors" in linted.stderr
    fitted = training("fit", *data, "-o", lab / "run", "--config", lab / "tiny.toml", *CPU)
    assert (fitted.status, "step 120/120" in fitted.stderr) == (0, True)
    exported = export("onnx", lab / "run", "-o", lab / "model")
    assert exported.status == 0
    return lab / "model"


def test_from_two_tomograms_and_a_star_file_to_picks_of_a_third(lab: Path, bundle: Path) -> None:
    stored = load_config(lab / "run/config.toml")
    assert stored.model.classes == ("ball", "bar")
    assert stored.picks.validation == "ts_2"
    card = Bundle.open(bundle).card
    assert [(c.name, c.diameter_angstrom) for c in card.classes] == [("ball", 110.0), ("bar", 150.0)]
    detected = picker("detect", lab / "ts_3.mrc", "--model", bundle, "-o", lab / "picks", "--format", "relion5")
    assert detected.status == 0
    picks = read_named_picks(lab / "picks/ts_3.csv")
    assert {pick.name for pick in picks} <= {"ball", "bar"}
    apart = np.linalg.norm(np.array([pick.position for pick in picks])[:, None] - np.load(lab / "ts_3.npy"), axis=2)
    near = apart < 5.0  # half a ball's diameter
    assert near.any(axis=0).mean() >= 0.75
    assert near.any(axis=1).mean() >= 0.4


def test_a_run_goes_on_without_being_told_its_data_again(lab: Path, bundle: Path) -> None:
    shutil.copytree(lab / "run", lab / "going_on")
    went_on = training("fit", "-o", lab / "going_on", "--steps", "121", *CPU)
    assert (went_on.status, "step 121/121" in went_on.stderr) == (0, True)


def test_a_run_that_begins_with_a_model_has_its_network(lab: Path, bundle: Path, tmp_path: Path) -> None:
    data = ["--tomograms", lab / "tomograms", "--picks", lab / "particles.star", *OPTIONS]
    printed = training("fit", *data, "-o", tmp_path / "second", "--from", bundle, "--print-config")
    (tmp_path / "second.toml").write_text(printed.stdout)
    config = load_config(tmp_path / "second.toml")
    assert config.point == load_config(lab / "run/config.toml").point
    assert config.model.name == "second"
    assert config.optimiser == FINE_TUNING


def test_a_new_class_begins_with_the_models_body(lab: Path, bundle: Path, tmp_path: Path) -> None:
    """Without learning, the rows of objectness, of the class that both know and of the offset are the model's."""
    data = ["--tomograms", lab / "tomograms", "--picks", lab / "particles.star", "--class", "1=ball"]
    others = ["--class", "2=disc", "--ignore", "3", "--diameter", "disc=140", "--diameter", "3=120"]
    still = tmp_path / "still.toml"
    still.write_text(CONFIG.replace("steps = 120\nlearning_rate = 0.01", "steps = 1\nlearning_rate = 0.0"))
    begun = training("fit", *data, *others, "-o", tmp_path / "run", "--from", bundle, "--config", still, *CPU)
    assert begun.status == 0
    checkpoint = load_checkpoint(tmp_path / "run")
    assert checkpoint is not None
    head, trained = checkpoint.weights["head.weight"], load_network(Bundle.open(bundle)).state_dict()["head.weight"]
    assert load_config(tmp_path / "run/config.toml").model.classes == ("ball", "disc")
    assert torch.equal(head[[0, 1, 3, 4, 5]], trained[[0, 1, 3, 4, 5]])
    assert not torch.equal(head[2], trained[2])


def test_fit_refuses_what_lint_calls_an_error(lab: Path, tmp_path: Path) -> None:
    text = (lab / "particles.star").read_text()
    (tmp_path / "wrong.star").write_text(text.replace("ts_1 ", "TS_1 "))
    data = ["--tomograms", lab / "tomograms", "--picks", tmp_path / "wrong.star", *OPTIONS]
    linted, fitted = training("lint", *data, "--json"), training("fit", *data, "-o", tmp_path / "run")
    assert (linted.status, fitted.status) == (3, 3)
    assert '"found": "14 lines of tomogram \'TS_1\'"' in linted.stdout
    assert "wrong.star:" in fitted.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--tomograms", "{}/tomograms"], 2, "--picks FILE"),
        (["--picks", "{}/particles.star"], 2, "--tomograms DIR"),
        (["--tomograms", "{}/tomograms", "--picks", "{}/absent*"], 2, "no such file"),
        (["--tomograms", "{}/tomograms", "--picks", "{}/particles.star"], 2, "--diameter 1=ANGSTROM"),
        (["--tomograms", "{}/tomograms", "--picks", "{}/particles.star", "--class", "x"], 3, "expected one of x"),
        (["--tomograms", "{}/tomograms", "--picks", "{}/particles.star", "--shrec", "{}"], 2, "one kind of data"),
        (["--tomograms", "{}/tomograms", "--picks", "{}/particles.star", "--border", "1", "2", "-3"], 2, "border"),
        (["--tomograms", "{}/tomograms", "--picks", "{}/particles.star", "--diameter", "1"], 2, "NAME=VALUE"),
    ],
)
def test_what_makes_no_sense_is_refused(lab: Path, tmp_path: Path, options: list[str], status: int, said: str) -> None:
    outcome = training("fit", *(o.format(lab) for o in options), "-o", tmp_path / "run")
    assert outcome.status == status
    assert said in outcome.stderr

"""`picker-training benchmark` on phantoms: the table, what is kept, what is done again and what is not."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training.benchmarking import tiny_protocol as tiny_protocol
from training.benchmarking.tiny_protocol import TINY

from picker_runtime.formats import read_named_picks
from picker_training import cli
from picker_training.benchmarking import entries, running
from picker_training.benchmarking.campaign import run_campaign
from picker_training.benchmarking.learned import LearnedMethod, read_spent
from picker_training.benchmarking.method import Method, Work
from picker_training.benchmarking.protocol import Difficulty
from picker_training.evaluation.rules import Rule
from picker_training.evaluation.scoring import score_files
from picker_training.trainer import Trainer

CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("tiny")


def run(names: list[str], phantom_folder: Path, output: Path, data: Path, **options: Any) -> str:
    return run_campaign(
        tiny_protocol.TINY, names, phantom_folder, output,
        **{"data": data, "minutes": None, "device": CPU, "report": lambda line: None} | options,
    )  # fmt: skip


def rows(table: str) -> list[list[str]]:
    """Return the cells of all lines but the rules below the heads."""
    lines = [line for line in table.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_has_a_row_for_each_entry_and_difficulty(
    tmp_path: Path, data: Path, phantom_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["point-s", "unet", "log", "template-matching"]
    arguments = ["benchmark", "--protocol", "tiny", "--templates", str(phantom_folder), "-o", str(tmp_path)]
    detectors = [argument for name in names for argument in ("--detector", name)]
    assert cli.run([*arguments, "--data", str(data), "--device", "cpu", *detectors]) == 0
    head, *body = rows(capsys.readouterr().out)
    table = [dict(zip(head, row, strict=True)) for row in body if len(row) == len(head)]
    assert all(row["protocol"] == "tiny" for row in table)
    assert [row["detector"] for row in table] == 2 * list(entries.ENTRIES)
    for row in table:
        done, learnt = row["detector"] in names, row["detector"] in names[:2]
        for column in ("loc. F1", "loc. F1 (distance)", "class F1", "seconds", "threads"):
            assert bool(row[column]) == done
        for column in ("parameters", "GMAC / Mvoxel", "training, min"):
            assert bool(row[column]) == learnt
    assert rows((tmp_path / "tiny/benchmark.md").read_text())[0] == head
    stored = json.loads((tmp_path / "tiny/benchmark.json").read_text())
    assert [result["entry"] for result in stored["results"]] == [name for name in entries.ENTRIES if name in names]
    timing = {result["entry"]: result["timing"]["voxels"] for result in stored["results"]}
    assert timing["log"] == timing["point-s"] == 32 * 64 * 48
    assert timing["template-matching"] == 32 * 48 * 48
    for result in stored["results"]:
        for stem, scores in zip(("snr2", "snr0.2"), result["scores"].values(), strict=True):
            (path,) = (tmp_path / "tiny").glob(f"{result['entry']}*/picks/{stem}.csv")
            assert score_files(Rule.SHREC2020, [data / "tiny/test" / stem], [path]).to_json() == scores["shrec2020"]
            assert {pick.name for pick in read_named_picks(path)} <= set(TINY.classes)
    assert len(read_named_picks(tmp_path / "tiny/log/picks/snr2.csv")) > 0


def test_thresholds_are_chosen_on_the_calibration_tomogram(tmp_path: Path, data: Path, phantom_folder: Path) -> None:
    run(["log"], phantom_folder, tmp_path, data)
    stored = json.loads((tmp_path / "tiny/log/result.json").read_text())["scores"]
    assert all(len(stored[d.name]["settings"]["thresholds"]) == len(TINY.classes) for d in TINY.difficulties)
    assert stored["easy"]["settings"] != stored["hard"]["settings"]
    assert stored["easy"]["shrec2020"]["truths"] == stored["easy"]["distance"]["truths"] == TINY.spec.particles


def test_a_finished_entry_is_not_run_again(
    tmp_path: Path, data: Path, phantom_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(["point-s"], phantom_folder, tmp_path, data)
    monkeypatch.delattr(Trainer, "run")
    assert run(["point-s"], phantom_folder, tmp_path, data) == first


def test_another_difficulty_tests_again_but_trains_no_more(
    tmp_path: Path, data: Path, phantom_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(["point-s"], phantom_folder, tmp_path, data)
    spent = read_spent(tmp_path / "tiny/point-s-seed1")
    harder = replace(TINY.difficulties[1], snr=0.1)
    monkeypatch.setattr(tiny_protocol, "TINY", replace(TINY, difficulties=(TINY.difficulties[0], harder)))
    again = run([], phantom_folder, tmp_path, data)
    head, *body = rows(again)
    assert not any(row[4] for row in body if len(row) == len(head))  # as if it had not been run
    monkeypatch.delattr(Trainer, "run")
    again = run(["point-s"], phantom_folder, tmp_path, data)
    assert "hard (0.1)" in again
    assert read_spent(tmp_path / "tiny/point-s-seed1") == spent


def test_a_killed_run_keeps_the_difficulties_that_were_tested(
    work: Work, phantom_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, scored, tested = entries.ENTRIES["log"](work, phantom_folder), running._scored, []

    def once(one: Method, difficulty: Difficulty, settings: dict[str, Any]) -> dict[str, Any]:
        if tested:
            raise KeyboardInterrupt
        tested.append(difficulty.name)
        return scored(one, difficulty, settings)

    monkeypatch.setattr(running, "_scored", once)
    with pytest.raises(KeyboardInterrupt):
        running.run_entry("log", method)
    assert tested == ["easy"]
    monkeypatch.setattr(running, "_scored", lambda *given: tested.append(given[1].name) or scored(*given))
    result = running.run_entry("log", method)
    assert tested == ["easy", "hard"]
    assert list(result.scores) == ["easy", "hard"]
    assert all(result.scores[d.name]["snr"] == d.snr for d in TINY.difficulties)


def test_scores_of_another_training_are_not_kept(work: Work, phantom_folder: Path) -> None:
    method = entries.ENTRIES["log"](work, phantom_folder)
    work.folder.mkdir()
    stale = {d.name: {"snr": d.snr, "settings": {}} for d in TINY.difficulties}
    (work.folder / "scores.json").write_text(json.dumps({"training": {"steps": 1}, "scores": stale}))
    assert all(scores["settings"] for scores in running.run_entry("log", method).scores.values())


def test_other_minutes_need_another_folder(
    tmp_path: Path, data: Path, phantom_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["log"], phantom_folder, tmp_path, data)
    arguments = ["benchmark", "--protocol", "tiny", "--templates", str(phantom_folder), "-o", str(tmp_path)]
    assert cli.run([*arguments, "--data", str(data), "--detector", "log", "--minutes", "2"]) == 2
    assert "was run with 0 minutes" in capsys.readouterr().err


def test_an_unknown_entry_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["benchmark", "--templates", str(tmp_path), "-o", str(tmp_path / "out"), "--detector", "unett"]
    assert cli.run(arguments) == 2
    assert "did you mean 'unet'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["paper", "paper-mended"])
def test_the_paper_trains_as_published_at_the_width_of_the_protocol(
    name: str, work: Work, phantom_folder: Path
) -> None:
    method = entries.ENTRIES[name](work, phantom_folder)
    assert isinstance(method, LearnedMethod)
    config = method.config
    assert (config.model.detector, config.paper.width, config.optimiser.batch) == ("paper", 4, 4)  # an eighth
    assert (config.data.crop, config.data.halo, config.optimiser.kind) == (64, 8, "adam")
    assert (config.optimiser.learning_rate, config.optimiser.warmup, config.optimiser.clip_norm) == (1e-3, 0, math.inf)
    assert config.data.snr == TINY.training_snrs
    assert config.paper.linear_output == (name == "paper-mended")

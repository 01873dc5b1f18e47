"""Picks made again from candidates are those that `detect` would have made, to the last byte."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from golden.blob_graph import SMALL, scattered, volume_with_blobs
from integration.command_line import contents, picker

from picker_runtime.formats import FORMATS
from picker_runtime.mrc import write_mrc

FORMAT_OPTIONS = [word for name in FORMATS for word in ("--format", name)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, golden_model: Path) -> Path:
    """A folder with two tomograms, `001` and `b`, and all that `detect` made of them in `picks`."""
    folder = tmp_path_factory.mktemp("picks")
    shape = (40, 64, 72)
    for seed, name in enumerate(("001", "b")):
        places = scattered(shape, count=24, apart=9, seed=seed)
        amplitudes = np.resize([5.0, SMALL, 0.7, 3.1], len(places))
        write_mrc(folder / f"{name}.mrc", volume_with_blobs(shape, places, amplitudes, seed=seed), 10.0)
    arguments = [folder / "001.mrc", folder / "b.mrc", "--model", golden_model, *FORMAT_OPTIONS]
    assert picker("detect", *arguments, "-o", folder / "picks").status == 0
    return folder


@pytest.mark.parametrize(
    "options",
    [
        [], ["--threshold", "0.1"], ["--threshold", "0.05"], ["--threshold", "0.65"], ["--threshold", "1"],
        ["--threshold", "small=0.3"], ["--threshold", "0.3", "--threshold", "large=0.7"], ["--classes", "large"],
    ],
    ids=lambda options: " ".join(options) or "as detect",
)  # fmt: skip
def test_picks_equal_detect_byte_for_byte(
    options: list[str], folder: Path, tmp_path: Path, golden_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every file but the record, which holds times; both run where `out` is the same name in RELION's index."""
    for name in ("again", "anew"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "again")
    assert picker("picks", folder / "picks", "-o", "out", *FORMAT_OPTIONS, *options).status == 0
    monkeypatch.chdir(tmp_path / "anew")
    tomograms = [folder / "001.mrc", folder / "b.mrc"]
    arguments = ["-o", "out", "--model", golden_model, *FORMAT_OPTIONS, *options]
    assert picker("detect", *tomograms, *arguments).status == 0
    again, anew = contents(tmp_path / "again/out"), contents(tmp_path / "anew/out")
    assert again.keys() == anew.keys()
    assert [name for name in again if not name.endswith(".json") and again[name] != anew[name]] == []
    for name in ("001.json", "b.json"):
        one, other = json.loads(again[name]), json.loads(anew[name])
        assert {key for key in one if one[key] != other[key]} <= {"timings", "options"}


def test_the_cases_differ(folder: Path, tmp_path: Path) -> None:
    def lines(*options: str) -> int:
        picker("picks", folder / "picks", "-o", tmp_path / "out", *options)
        return (tmp_path / "out/001.csv").read_text().count("\n")

    assert lines("--threshold", "0.05") > lines() > lines("--threshold", "0.65") > 1


def test_in_place_the_record_follows_the_picks(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "picks", tmp_path / "picks")
    before = contents(tmp_path / "picks")
    assert picker("picks", tmp_path / "picks/001.csv", "--threshold", "0.65").status == 0
    after = contents(tmp_path / "picks")
    assert before["001.candidates.csv"] == after["001.candidates.csv"]
    record = json.loads(after["001.json"])
    assert set(record["thresholds"].values()) == {0.65}
    assert sum(record["counts"].values()) == after["001.csv"].count(b"\n") - 1 < before["001.csv"].count(b"\n") - 1
    assert before["b.csv"] == after["b.csv"]


def test_in_place_every_format_that_is_there_follows_the_picks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder / "picks", tmp_path / "picks")
    assert picker("picks", "picks", "--format", "relion5", "--relion-centre", "python").status == 0
    assert picker("picks", "picks", "--threshold", "0.65", "--format", "coords").status == 0
    named = json.loads((tmp_path / "picks/001.json").read_text())["outputs"]
    (tmp_path / "new").mkdir()
    arguments = ["--threshold", "0.65", *FORMAT_OPTIONS, "--relion-centre", "python"]
    assert picker("picks", "picks", "-o", "new/picks", *arguments).status == 0
    inside, anew = contents(tmp_path / "picks"), contents(tmp_path / "new/picks")
    index = inside.pop("particles_index.star")
    assert index == anew.pop("particles_index.star").replace(b"new/picks/", b"picks/")
    assert inside.keys() == anew.keys()
    assert [name for name in inside if not name.endswith(".json") and inside[name] != anew[name]] == []
    assert set(named) == {name for name in inside if name.startswith("001")} | {"particles_index.star"}


def test_files_of_classes_that_another_model_had_do_not_stay(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "picks", tmp_path / "picks")
    assert picker("picks", tmp_path / "picks", "--format", "coords", "--format", "relion5").status == 0
    record = tmp_path / "picks/001.json"
    earlier = json.loads(record.read_text())
    for name in ("001_gone.coords", "0010_other.coords", "001.txt"):
        (tmp_path / "picks" / name).write_text("1 2 3\n")
    (tmp_path / "001_outside.coords").write_text("1 2 3\n")
    earlier["outputs"] += ["001_gone.coords", "0010_other.coords", "../001_outside.coords"]
    record.write_text(json.dumps(earlier))
    assert picker("picks", tmp_path / "picks").status == 0
    assert not (tmp_path / "picks/001_gone.coords").exists()
    kept = ("picks/0010_other.coords", "picks/001.txt", "001_outside.coords", "picks/particles_index.star")
    assert all((tmp_path / name).exists() for name in kept)


def test_a_name_that_a_format_cannot_hold_costs_its_own_file(tmp_path: Path, golden_model: Path) -> None:
    write_mrc(tmp_path / "a' b\" c.mrc", np.zeros((32, 32, 32), np.float32), 10.0)
    arguments = ("detect", tmp_path / "a' b\" c.mrc", "-o", tmp_path / "picks", "--model", golden_model)
    refused = picker(*arguments, "--format", "relion5")
    assert (refused.status, "E47" in refused.stderr) == (3, True)
    assert list((tmp_path / "picks").iterdir()) == []


def test_a_folder_without_candidates_does_not_keep_the_others_from_being_picked(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    outcome = picker("picks", tmp_path / "empty", folder / "picks", "-o", tmp_path / "out")
    assert (outcome.status, (tmp_path / "out/001.csv").exists()) == (3, True)
    assert "E44" in outcome.stderr
    assert f"{len(list(folder.glob('picks/*.json')))} of {len(list(folder.glob('picks/*.json'))) + 1}" in outcome.stderr
    assert picker("picks", tmp_path / "empty").status == 3


def test_a_record_that_cannot_be_read_is_warned_of(folder: Path, tmp_path: Path, golden_model: Path) -> None:
    shutil.copytree(folder / "picks", tmp_path / "picks")
    (tmp_path / "picks/001.json").write_text('{"of": "a later version"}')
    source = next(path for path in folder.glob("*.mrc") if path.stem == "001")
    detected = picker("detect", source, "-o", tmp_path / "picks", "--model", golden_model)
    assert "warning: 001.mrc: files of other formats that an earlier run left may be out of date" in detected.stderr


def test_classes_that_were_left_out_can_be_picked_later(folder: Path, tmp_path: Path) -> None:
    """Those picked last stay chosen until others are; thresholds stay those of all classes."""

    def picked(*options: str) -> tuple[dict[str, int], dict[str, float]]:
        assert picker("picks", folder / "picks/001.csv", *options).status == 0
        record = json.loads((tmp_path / "out/001.json").read_text())
        return record["counts"], record["thresholds"]

    out, start = ("-o", str(tmp_path / "out")), folder / "picks"
    both, thresholds = picked(*out)
    shutil.copytree(start, tmp_path / "picks")
    folder = tmp_path
    assert picked(*out, "--classes", "large") == ({"large": both["large"]}, thresholds)
    folder = tmp_path / "again"
    shutil.copytree(tmp_path / "out", folder / "picks")
    assert picked(*out) == ({"large": both["large"]}, thresholds)
    assert picked(*out, "--classes", "small") == ({"small": both["small"]}, thresholds)
    assert picked(*out, "--classes", "small,large") == (both, thresholds)


@pytest.mark.parametrize("name", ["001.csv", "001.candidates.csv", "001.json"])
def test_any_file_of_a_detection_names_it(name: str, folder: Path, tmp_path: Path) -> None:
    assert picker("picks", folder / "picks" / name, "-o", tmp_path / "out").status == 0
    assert sorted(contents(tmp_path / "out")) == ["001.candidates.csv", "001.csv", "001.json"]
    record = json.loads((tmp_path / "out/001.json").read_text())
    assert (tmp_path / "out" / record["tomogram"]["path"]).samefile(folder / "001.mrc")


@pytest.mark.parametrize(
    "options", [["--threshold", "0.01"], ["--threshold", "blob=0.5"], ["--classes", "blob"], ["--format", "word"]]
)
def test_what_makes_no_sense_is_a_usage_error(options: list[str], folder: Path, tmp_path: Path) -> None:
    outcome = picker("picks", folder / "picks", "-o", tmp_path / "out", *options)
    assert (outcome.status, len(outcome.complaints)) == (2, 1)
    assert outcome.stderr.startswith("picker: E80 ")


@pytest.mark.parametrize(
    ("change", "options"),
    [(('"floor": 0.05', '"floor": 0.1'), ("--threshold", "0.07")), (('"small"', '"tiny"'), ("--classes", "small"))],
)
def test_what_makes_no_sense_for_one_of_two_models_changes_nothing(
    change: tuple[str, str], options: tuple[str, str], folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "picks", tmp_path / "picks")
    record = tmp_path / "picks/b.json"
    assert change[0] in record.read_text()
    record.write_text(record.read_text().replace(*change))
    before = contents(tmp_path / "picks")
    outcome = picker("picks", tmp_path / "picks", *options)
    assert (outcome.status, len(outcome.complaints)) == (2, 1)
    assert str(record) in outcome.stderr
    assert contents(tmp_path / "picks") == before


def test_a_broken_file_costs_itself_alone(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "picks", tmp_path / "picks")
    candidates = tmp_path / "picks/001.candidates.csv"
    candidates.write_text(candidates.read_text() + "001,large,0.5,one,2,3,10,20,30,80\n")
    outcome = picker("picks", tmp_path / "picks", "-o", tmp_path / "out")
    assert outcome.status == 3
    assert outcome.complaints[0].startswith("picker: E44 001.candidates.csv: line ")
    assert sorted(contents(tmp_path / "out")) == ["b.candidates.csv", "b.csv", "b.json"]


def test_candidates_that_lost_lines_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "picks", tmp_path / "picks")
    candidates = tmp_path / "picks/001.candidates.csv"
    candidates.write_text("".join(candidates.read_text().splitlines(keepends=True)[:-1]))
    outcome = picker("picks", candidates, "-o", tmp_path / "out")
    assert outcome.status == 3
    assert outcome.stderr.startswith("picker: E44 001.candidates.csv: ")


def test_a_folder_without_candidates_is_refused(tmp_path: Path) -> None:
    outcome = picker("picks", tmp_path)
    assert outcome.status == 3
    assert outcome.stderr.startswith("picker: E44 ")

"""Batches through the command line: what is refused, when, with which status and in how many words."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from badinput import corpus
from golden.blob_graph import golden_bundle, volume_with_blobs
from integration.command_line import SHAPE, contents, picker, tomogram

from picker_runtime.detector import Picker
from picker_runtime.mrc import write_mrc

ONE_LINE = re.compile(r"picker: E\d\d .+: .+\. Fix: .+\.")


def truncated(path: Path) -> None:
    tomogram(path)
    path.write_bytes(path.read_bytes()[:-100])


def wrong_mode(path: Path) -> None:
    tomogram(path)
    content = bytearray(path.read_bytes())
    content[12:16] = struct.pack("<i", 4)
    path.write_bytes(content)


def absurd_header(path: Path) -> None:
    tomogram(path)
    content = bytearray(path.read_bytes())
    content[0:4] = struct.pack("<i", -7)
    path.write_bytes(content)


def too_many_nans(path: Path) -> None:
    volume = volume_with_blobs(SHAPE, [(16, 20, 20)])
    volume[:1, :, :] = np.nan
    write_mrc(path, volume, 10.0)


def constant(path: Path) -> None:
    write_mrc(path, np.full(SHAPE, 3, np.float32), 10.0)


def flat(path: Path) -> None:
    write_mrc(path, volume_with_blobs((1, 48, 64), []), 10.0)


def no_voxel_size(path: Path) -> None:
    tomogram(path, voxel_size=0.0)


def other_voxel_size(path: Path) -> None:
    tomogram(path, voxel_size=13.5)


def absent(path: Path) -> None:
    pass


def no_tomogram(path: Path) -> None:
    path.write_text("this is no tomogram" * 100)


BAD: dict[Callable[[Path], None], int] = {
    truncated: 21, wrong_mode: 22, absurd_header: 20, too_many_nans: 41, constant: 42, flat: 33, no_voxel_size: 31,
    other_voxel_size: 30, absent: 12, no_tomogram: 10,
}  # fmt: skip


def test_bad_files_cost_themselves_alone(tmp_path: Path, golden_model: Path) -> None:
    inputs = []
    for make in BAD:
        bad, good = tmp_path / f"{make.__name__}.mrc", tmp_path / f"after {make.__name__}.mrc"
        make(bad)
        tomogram(good)
        inputs += [bad, good]
    outcome = picker("detect", *inputs, "-o", tmp_path / "out", "--model", golden_model)
    assert outcome.status == 3
    *refusals, summary = outcome.complaints
    for refusal, (make, code) in zip(refusals, BAD.items(), strict=True):
        assert refusal.startswith(f"picker: E{code} {make.__name__}.mrc")
        assert ONE_LINE.fullmatch(refusal)
    assert summary == f"picker: {len(BAD)} of {2 * len(BAD)} files done, {len(BAD)} refused"
    written = [f"after {make.__name__}{suffix}" for make in BAD for suffix in (".candidates.csv", ".csv", ".json")]
    assert sorted(contents(tmp_path / "out")) == sorted(written)


def test_every_bad_file_of_the_corpus_is_one_line(tmp_path: Path, golden_model: Path) -> None:
    codes, inputs = [], []
    for number, case in enumerate([*corpus.BAD, *corpus.UNMEASURABLE]):
        (tmp_path / str(number)).mkdir()
        path = case.write(tmp_path / str(number))
        if "\0" not in str(path):  # no command line can say that
            link = tmp_path / f"{number} {path.name[:80]}"  # a name of its own; the file itself stays where it is
            link.symlink_to(path)
            inputs.append(link)
            codes.append(case.code)
    outcome = picker("detect", *inputs, "-o", tmp_path / "out", "--model", golden_model)
    assert outcome.status == 3
    *refusals, _ = outcome.complaints
    assert [refusal for refusal in refusals if not ONE_LINE.fullmatch(refusal)] == []
    assert [int(refusal[9:11]) for refusal in refusals] == codes
    assert contents(tmp_path / "out") == {}


def test_a_batch_is_as_good_as_each_alone(tmp_path: Path, golden_model: Path) -> None:
    files = [tmp_path / name for name in ("a.mrc", "b.rec", "001.map")]
    for seed, file in enumerate(files):
        tomogram(file, seed=seed)
    together = picker("detect", *files, "-o", tmp_path / "together", "--model", golden_model)
    for file in files:
        picker("detect", file, "-o", tmp_path / "alone", "--model", golden_model)
    assert together.status == 0
    assert together.complaints == []
    assert set(contents(tmp_path / "together")) >= {"a.csv", "b.csv", "001.csv"}
    for name, content in contents(tmp_path / "alone").items():
        assert name.endswith(".json") or contents(tmp_path / "together")[name] == content


@pytest.mark.parametrize(
    "pair", [("x/a.mrc", "y/a.mrc"), ("a.mrc", "a.rec"), ("a.mrc.gz", "a.mrc"), ("a.mrc", "a.candidates.mrc")]
)
def test_equal_stems_are_refused_before_any_work(pair: tuple[str, str], tmp_path: Path, golden_model: Path) -> None:
    for name in pair:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tomogram(tmp_path / name)
    outcome = picker("detect", *(tmp_path / name for name in pair), "-o", tmp_path / "out", "--model", golden_model)
    assert outcome.status == 2
    assert len(outcome.complaints) == 1
    assert outcome.stderr.startswith("picker: E81 ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    folder: str, tmp_path: Path, golden_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("a file")
    tomogram(tmp_path / "a.mrc")
    monkeypatch.setattr(Picker, "detect", lambda *a, **k: pytest.fail("work was begun"))
    outcome = picker("detect", tmp_path / "a.mrc", "-o", tmp_path / folder, "--model", golden_model)
    assert outcome.status == 6
    assert len(outcome.complaints) == 1
    assert outcome.stderr.startswith("picker: E70 ")


@pytest.mark.parametrize(
    "options",
    [
        ["--threshold", "2"], ["--threshold", "0.001"], ["--threshold", "blob=0.4"], ["--classes", "blob"],
        ["--classes", ","], ["--format", "word"], ["--engine", "abacus"], ["--tile", "8"], ["--tile", "1,2"],
        ["--batch", "0"], ["--mode0", "odd"], ["--relion-centre", "left"], ["--relion-centre", "python"],
        ["--relion-centre", "python", "--format", "shrec"], ["--voxel-size", "-3"],
        ["--threads", "many"], ["--no-such-option"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_options_that_make_no_sense_are_usage_errors(options: list[str], tmp_path: Path, golden_model: Path) -> None:
    tomogram(tmp_path / "a.mrc")
    outcome = picker("detect", tmp_path / "a.mrc", "-o", tmp_path / "out", "--model", golden_model, *options)
    assert outcome.status == 2
    assert len(outcome.complaints) == 1
    assert ONE_LINE.fullmatch(outcome.complaints[0])
    assert outcome.stderr.startswith("picker: E80 ")
    assert outcome.stdout == ""


def test_a_folder_is_refused_for_itself_also_where_it_has_no_name(
    tmp_path: Path, golden_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tomogram(tmp_path / "a.mrc")
    outcome = picker("detect", ".", "..", "a.mrc", "-o", ".", "--model", golden_model)
    assert outcome.status == 3
    assert [complaint.split(":")[1] for complaint in outcome.complaints[:2]] == [" E12 .", " E12 .."]
    assert outcome.complaints[2] == "picker: 1 of 3 files done, 2 refused"


def test_no_input_is_a_usage_error() -> None:
    assert picker("detect").status == 2


def test_a_damaged_model_is_refused_with_status_4(tmp_path: Path) -> None:
    tomogram(tmp_path / "a.mrc")
    model = golden_bundle(tmp_path / "model")
    graph = bytearray((model / "model.onnx").read_bytes())
    graph[100] ^= 1
    (model / "model.onnx").write_bytes(graph)
    outcome = picker("detect", tmp_path / "a.mrc", "-o", tmp_path / "out", "--model", model)
    assert (outcome.status, len(outcome.complaints)) == (4, 1)
    assert outcome.stderr.startswith("picker: E52 ")


def test_a_bug_costs_its_file_and_ends_with_status_1(
    tmp_path: Path, golden_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Picker.detect

    def detect(self: Picker, source: Path, **options: object) -> object:
        if source.name == "odd.mrc":
            raise RuntimeError("the sky\nis green")
        return right(self, source, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Picker, "detect", detect)
    for name in ("odd.mrc", "even.mrc"):
        tomogram(tmp_path / name)
    arguments = ["detect", tmp_path / "odd.mrc", tmp_path / "even.mrc", "-o", tmp_path / "out", "--model", golden_model]
    outcome = picker(*arguments)
    assert outcome.status == 1
    assert "odd.mrc: RuntimeError: the sky\\nis green. Fix: " in outcome.complaints[0]
    assert "Traceback" not in outcome.stderr
    assert (tmp_path / "out/even.json").exists()
    monkeypatch.setenv("PICKER_DEBUG", "1")
    assert "Traceback" in picker(*arguments).stderr


def test_json_has_one_object_for_each_tomogram(tmp_path: Path, golden_model: Path) -> None:
    found = tomogram(tmp_path / "good.mrc")
    no_voxel_size(tmp_path / "bad.mrc")
    arguments = [tmp_path / "good.mrc", tmp_path / "bad.mrc", "-o", tmp_path / "out", "--model", golden_model]
    outcome = picker("detect", *arguments, "--json")
    good, bad = map(json.loads, outcome.stdout.splitlines())
    assert sum(good["counts"].values()) == len(found)
    assert good["tomogram"]["shape"] == list(SHAPE)
    assert set(good["outputs"]) == set(contents(tmp_path / "out"))
    assert bad["error"]["code"] == "E31"


def test_the_record_is_written_last(tmp_path: Path, golden_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace = Path.replace

    def spy(self: Path, target: Path) -> Path:
        order.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", spy)
    tomogram(tmp_path / "a.mrc")
    arguments = ["detect", tmp_path / "a.mrc", "-o", tmp_path / "out", "--model", golden_model, "--format", "relion5"]
    assert picker(*arguments).status == 0
    assert order[:2] == ["a.csv", "a.candidates.csv"]
    assert order[-1] == "a.json"
    assert set(order) == set(contents(tmp_path / "out"))


def test_the_table_counts_the_picks(tmp_path: Path, golden_model: Path) -> None:
    found = tomogram(tmp_path / "a.mrc")
    outcome = picker("detect", tmp_path / "a.mrc", "-o", tmp_path / "out", "--model", golden_model)
    rows = {name: int(count) for name, count in re.findall(r"^ +(\w+) +(\d+)  ", outcome.stdout, re.MULTILINE)}
    assert rows["all"] == rows["small"] + rows["large"] == len(found)
    assert "3 files written" in outcome.stdout
    assert picker("detect", tmp_path / "a.mrc", "-o", tmp_path / "out", "--model", golden_model, "--quiet").stdout == ""


def test_a_tile_without_one_finite_voxel_has_no_picks(tmp_path: Path, golden_model: Path) -> None:
    shape = (112, 112, 112)
    positions = np.array([(12, 12, 12), (60, 61, 62)], float)
    volume = volume_with_blobs(shape, positions)
    volume[:24, :24, :24] = np.nan  # all that the first cube of 32 reads of the volume: core 16 and halo 8
    write_mrc(tmp_path / "a.mrc", volume, 10.0)
    outcome = picker(
        "detect", tmp_path / "a.mrc", "-o", tmp_path / "out", "--model", golden_model, "--tile", 32, "--json"
    )
    record = json.loads(outcome.stdout)
    assert outcome.status == 0
    assert sum(record["counts"].values()) == 1
    assert any("finite" in warning for warning in record["warnings"])

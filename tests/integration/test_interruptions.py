"""A signal or a full disk in the middle of a batch: finished files stay, nothing is half-written."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from golden.blob_graph import scattered, volume_with_blobs
from integration.command_line import contents, picker, start, tomogram

from picker_runtime import atomic
from picker_runtime.errors import OutputError
from picker_runtime.mrc import write_mrc
from picker_runtime.records import DetectionRecord

FILE_BYTES = 4096
OUTPUTS = [".candidates.csv", ".csv", ".json"]


def limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))


def test_a_full_disk_stops_the_batch_and_leaves_finished_files(tmp_path: Path, golden_model: Path) -> None:
    """The limit of a file's size stands for the disk: the second tomogram has too many picks for it."""
    few = tomogram(tmp_path / "a.mrc", count=4)
    shape = (64, 64, 64)
    write_mrc(tmp_path / "b.mrc", volume_with_blobs(shape, scattered(shape, count=150, apart=9)), 10.0)
    tomogram(tmp_path / "c.mrc", count=4)
    inputs = [tmp_path / name for name in ("a.mrc", "b.mrc", "c.mrc")]
    arguments = ["detect", *inputs, "-o", tmp_path / "out", "--model", golden_model]
    with start(*arguments, preexec=limit_file_size) as process:
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 6
    complaint, summary = [line for line in stderr.splitlines() if "warning" not in line]
    assert complaint.startswith("picker: E71 ")
    assert summary == "picker: 1 of 3 files done, 1 refused, 1 not tried"
    assert sorted(contents(tmp_path / "out")) == [f"a{suffix}" for suffix in OUTPUTS]
    assert sum(DetectionRecord.read(tmp_path / "out/a.json").counts.values()) == len(few)
    assert picker(*arguments).status == 0
    assert sorted(contents(tmp_path / "out")) == [f"{stem}{suffix}" for stem in "abc" for suffix in OUTPUTS]


@pytest.mark.parametrize("stream", ["stdout", "stderr", "a pipe that nobody reads"])
def test_what_cannot_be_shown_is_done_all_the_same(stream: str, tmp_path: Path, golden_model: Path) -> None:
    inputs = [tmp_path / name for name in ("a.mrc", "bad.mrc", "c.mrc")]
    for path in inputs:
        tomogram(path)
    inputs[1].write_text("no tomogram")
    unread, pipe = os.pipe()
    os.close(unread)
    program = "from picker_runtime.cli import main; main()"
    arguments = ["detect", *inputs, "-o", tmp_path / "out", "--model", golden_model]
    with Path("/dev/full").open("w") as full:
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | {
            "stdout": {"stdout": full}, "stderr": {"stderr": full}, "a pipe that nobody reads": {"stdout": pipe},
        }[stream]  # fmt: skip
        ended = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], check=False, text=True, **given)
    os.close(pipe)
    assert ended.returncode == 3
    assert {"a.json", "c.json"} <= contents(tmp_path / "out").keys()
    if stream != "stderr":
        said = [line for line in ended.stderr.splitlines() if "output" in line]
        why = "no space left on device" if stream == "stdout" else "broken pipe"
        assert said == [f"picker: output is shown no more: {why}"]


@pytest.mark.parametrize("command", ["detect", "picks"])
def test_a_record_is_that_of_the_files_beside_it(
    command: str, tmp_path: Path, golden_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a new one cannot be written, an old one stays only while its candidates do."""
    tomogram(tmp_path / "a.mrc")
    detect = ("detect", tmp_path / "a.mrc", "-o", tmp_path / "out", "--model", golden_model)
    assert picker(*detect).status == 0

    def full(record: DetectionRecord, path: Path) -> None:
        raise OutputError(71, str(path), "cannot be written", "free some space")

    monkeypatch.setattr(DetectionRecord, "write", full)
    again = detect if command == "detect" else ("picks", tmp_path / "out", "--threshold", "0.9")
    assert picker(*again).status == 6
    assert (tmp_path / "out/a.json").exists() == (command == "picks")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_and_leaves_finished_files(
    number: signal.Signals, tmp_path: Path, golden_model: Path
) -> None:
    inputs = [tmp_path / f"{i:03}.mrc" for i in range(200)]
    tomogram(inputs[0])
    for path in inputs[1:]:
        path.hardlink_to(inputs[0])
    first = tmp_path / "out/000.json"
    with start("detect", *inputs, "-o", tmp_path / "out", "--model", golden_model) as process:
        deadline = time.monotonic() + 60
        while not first.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(number)
        sent = time.monotonic()
        _, stderr = process.communicate(timeout=60)
    assert time.monotonic() - sent < 5
    assert process.returncode == 128 + number
    assert [line for line in stderr.splitlines() if "warning" not in line] == [
        f"picker: stopped by {number.name}. Finished files stay, none is half-written."
    ]
    written = contents(tmp_path / "out")
    assert [name for name in written if name.startswith(".")] == []
    records = [name for name in written if name.endswith(".json")]
    assert 1 <= len(records) < len(inputs)
    for name in records:
        record = DetectionRecord.read(tmp_path / "out" / name)
        assert set(record.outputs) <= written.keys()
        assert written[name.replace(".json", ".csv")].count(b"\n") == 1 + sum(record.counts.values())


def test_leftovers_of_a_killed_process_are_swept(tmp_path: Path, golden_model: Path) -> None:
    tomogram(tmp_path / "a.mrc")
    with start("--version") as process:
        process.communicate(timeout=60)
    picker("detect", tmp_path / "a.mrc", "-o", tmp_path / "out", "--model", golden_model)
    leftover = tmp_path / f"out/.picker-{process.pid}-{atomic._host()}-0123abcd"
    leftover.write_text("half")
    assert picker("detect", tmp_path / "a.mrc", "-o", tmp_path / "out", "--model", golden_model).status == 0
    assert not leftover.exists()

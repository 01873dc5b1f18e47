"""Engines in processes of their own: what ends or hangs such a process, and what the command is left with."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from golden.blob_graph import blob_graph, scattered, volume_with_blobs
from runtime.engines.child_engines import Misbehaving

from picker_runtime.batch import run_batch
from picker_runtime.engines import open_engine
from picker_runtime.engines.base import Candidates, TileTooLarge
from picker_runtime.engines.child import ChildEngine
from picker_runtime.errors import EngineError, InputError, PickerError
from picker_runtime.intensity import Intensity, NormalisedSource
from picker_runtime.mrc import write_mrc
from picker_runtime.tiling import Tile, plan
from picker_runtime.tomogram import Tomogram

SHAPE = (24, 24, 64)
TILES = plan(SHAPE, tile=(32, 32, 24), halo=4, margin=4, alignment=4, output_stride=2, min_cells=8)
ARRAY = np.random.default_rng(0).normal(5, 2, SHAPE).astype(np.float32)
FOLDER = "runtime.engines.child_engines"


def source(array: np.ndarray = ARRAY) -> NormalisedSource:
    intensity = Intensity(center=5.1, scale=1.9, non_finite_fraction=0, fill=None)
    return NormalisedSource(Tomogram.from_array(array, 10.0), intensity, invert=True)


def child(tmp_path: Path, deed: str, times: int = 1, *, silence: float = 20.0) -> ChildEngine:
    arguments = {"deed": deed, "times": times, "count": str(tmp_path / "count")}
    return ChildEngine("fake", factory=f"{FOLDER}:Misbehaving", arguments=arguments, silence=silence)


def right(found: list[tuple[Tile, Candidates]]) -> None:
    """They are what the same engine finds in this process."""
    with Misbehaving("nothing", 0, "/dev/null", lambda line: None) as engine:
        wanted = [(tile, engine._find((cube - np.float32(5.1)) * np.float32(-1 / 1.9))) for tile, cube in cubes()]
    assert [tile for tile, _ in found] == [tile for tile, _ in wanted] == TILES
    for (_, one), (_, other) in zip(found, wanted, strict=True):
        for name in ("centers", "diameters", "scores", "class_ids"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
            assert getattr(one, name).dtype == getattr(other, name).dtype


def cubes() -> list[tuple[Tile, np.ndarray]]:
    return [(tile, cube) for tile in TILES if (cube := source().read(tile.cube)) is not None]


def children() -> list[int]:
    """Return the children of this process, ended ones that nobody waited for included."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    found = []
    for pid in pids:
        try:
            if int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(pid)
        except OSError:
            continue
    return found


def open_files() -> int:
    """Count this process's open files but the arrays of `source`, which go with their tracebacks."""
    names = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return sum("memfd:picker " not in name for name in names)


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path):  # type: ignore[no-untyped-def]
    before, files = children(), open_files()
    yield
    assert children() == before
    assert open_files() <= files
    assert {path.name for path in tmp_path.iterdir()} <= {"count", "count.next", "a.mrc", "model.onnx", "seen"}


def test_the_child_finds_what_this_process_finds_and_its_words_arrive(tmp_path: Path) -> None:
    lines: list[str] = []
    with child(tmp_path, "nothing") as engine:
        engine.say = lines.append
        engine._end(gently=True)  # opened again with that
        right(list(engine.stream(source(), TILES)))
        assert engine.warnings == ["a warning from the child"]
        right(list(engine.stream(source(), TILES)))
    assert lines == ["a line"] * 2


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        ("die", "was killed by SIGKILL"),
        ("exit", "ended with exit status 3: CUDA says goodbye"),
        ("bug", "failed: ZeroDivisionError: oh"),
        ("device lost", "failed: cuStreamSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS"),
    ],
)
def test_a_lost_child_is_replaced_once(tmp_path: Path, deed: str, words: str) -> None:
    with child(tmp_path, deed) as engine:
        right(list(engine.stream(source(), TILES)))
        assert f"the process of fake {words}; a new one did the rest" in engine.warnings
    with child(tmp_path, deed, times=9) as engine:
        (tmp_path / "count").unlink()
        found = []
        with pytest.raises(EngineError) as caught:
            found += engine.stream(source(), TILES)
        assert caught.value.code == 63 and caught.value.problem == f"its process was lost twice: the last one {words}"
        (tmp_path / "count").write_text("x" * 9)  # the next tomogram gets a process of its own
        right(list(engine.stream(source(), TILES)))


def test_a_hung_child_is_killed_and_replaced(tmp_path: Path) -> None:
    with child(tmp_path, "hang", silence=1.0) as engine:
        right(list(engine.stream(source(), TILES)))
        assert "the process of fake did nothing for 1 s; a new one did the rest" in engine.warnings


def test_signs_of_progress_keep_a_slow_child_alive(tmp_path: Path) -> None:
    with child(tmp_path, "slow", silence=1.5) as engine:
        right(list(engine.stream(source(), TILES)))
        assert engine.warnings == ["a warning from the child"]


def test_a_child_lost_while_it_opens_is_replaced_once(tmp_path: Path) -> None:
    with child(tmp_path, "opening die") as engine:
        right(list(engine.stream(source(), TILES)))
    (tmp_path / "count").unlink()
    with pytest.raises(EngineError, match="E63"):
        child(tmp_path, "opening exit", times=2).__enter__()


@pytest.mark.parametrize(("deed", "kind", "code"), [("bad file", InputError, 13), ("cannot build", EngineError, 62)])
def test_other_errors_pass_through_and_the_child_goes_on(
    tmp_path: Path, deed: str, kind: type[PickerError], code: int
) -> None:
    with child(tmp_path, deed) as engine:
        with pytest.raises(kind) as caught:
            list(engine.stream(source(), TILES))
        assert caught.value.code == code
        before = children()
        right(list(engine.stream(source(), TILES)))
        assert children() == before


def test_an_engine_that_cannot_be_opened_says_why_at_once(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="E60 fake: not installed"):
        child(tmp_path, "no engine").__enter__()


def test_a_tile_too_large_is_handed_on(tmp_path: Path) -> None:
    with child(tmp_path, "too large") as engine:
        with pytest.raises(TileTooLarge) as caught:
            list(engine.stream(source(), TILES))
        assert caught.value.shape == TILES[2].cube.shape


def test_the_next_tomogram_is_announced_with_its_open_file(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", ARRAY, 10.0)
    with child(tmp_path, "nothing") as engine:
        with Tomogram.open(tmp_path / "a.mrc") as following:
            engine.prefetch(following.raw())
            row = int(following.raw().shape[2])
        (tmp_path / "a.mrc").unlink()  # the child has the file open
        right(list(engine.stream(source(), TILES)))
    total = int(ARRAY[0, 0, :row].view(np.uint8).sum(dtype=np.int64))
    assert (tmp_path / "count.next").read_text() == f"a.mrc {SHAPE} {total}"


def test_a_stream_given_up_ends_the_child(tmp_path: Path) -> None:
    with child(tmp_path, "nothing") as engine:
        stream = engine.stream(source(), TILES)
        next(stream)
        stream.close()
        assert engine._process is None
        right(list(engine.stream(source(), TILES)))


def test_a_batch_goes_on_after_a_tomogram_that_loses_its_process_twice(tmp_path: Path) -> None:
    refused = []
    with child(tmp_path, "die", times=2) as engine:
        result = run_batch(
            [Path("a"), Path("b"), Path("c")],
            lambda path: right(list(engine.stream(source(), TILES))),
            lambda path, error: refused.append((path.name, str(error)[:3])),
        )
    assert (result.done, result.refused, result.untried, result.exit_status) == (2, 1, 0, 5)
    assert refused == [("a", "E63")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_stopped_takes_its_child_along(tmp_path: Path, number: signal.Signals) -> None:
    code = f"""
import sys, signal
from picker_runtime.console import _stop, Stopped
from picker_runtime.engines.child import ChildEngine
from runtime.engines.test_child import source, TILES
for one in (signal.SIGINT, signal.SIGTERM):
    signal.signal(one, _stop)
try:
    with ChildEngine("fake", factory="{FOLDER}:sleepy", arguments={{}}) as engine:
        print(engine._process._process.pid, flush=True)
        list(engine.stream(source(), TILES))
except Stopped as stop:
    sys.exit(128 + stop.number)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as command:
        assert command.stdout is not None
        pid = int(command.stdout.readline())
        time.sleep(0.3)
        command.send_signal(number)
        status = command.wait(30)
    assert status == (-number if number == signal.SIGKILL else 128 + number)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and "Z" not in state(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists() or state(pid) == "Z"


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_a_real_engine_finds_in_a_child_what_it_finds_here(tmp_path: Path) -> None:
    graph = blob_graph(tmp_path / "model.onnx")
    shape = (40, 48, 44)
    volume = volume_with_blobs(shape, scattered(shape, count=12, apart=11, margin=6))
    tiles = plan(shape, tile=(32, 32, 32), halo=4, margin=4, alignment=4, output_stride=2, min_cells=64)
    with open_engine("openvino", graph, threads=1) as engine:
        wanted = list(engine.stream(source(volume), tiles))
    arguments = {"name": "openvino", "graph": str(graph), "threads": 1}
    with ChildEngine("openvino", factory="runtime.engines.child_engines:opened", arguments=arguments) as engine:
        found = list(engine.stream(source(volume), tiles))
    assert sum(len(candidates.scores) for _, candidates in found) > 0
    for (_, one), (_, other) in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.centers, other.centers)
        np.testing.assert_array_equal(one.scores, other.scores)

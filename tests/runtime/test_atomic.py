"""Atomic writes: complete or not there, mapped errors, leftovers swept."""

import errno
import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from picker_runtime import atomic
from picker_runtime.errors import OutputError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_text_and_bytes_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    atomic.write_text(path, "µ\n\udcff\n")
    assert path.read_bytes() == b"\xc2\xb5\n\xff\n"
    atomic.write_bytes(path, b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"
    assert names(tmp_path) == ["a"]


def test_file_mode_follows_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        atomic.write_text(tmp_path / "a", "")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_failing_block_leaves_the_old_content_and_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "a"
    atomic.write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), atomic.atomic_writer(path, "w") as stream:
        stream.write("new")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_content_is_synced_before_the_rename_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def record_fsync(descriptor: int) -> None:
        steps.append("sync folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "sync file")
        fsync(descriptor)

    def record_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(Path, "replace", record_replace)
    atomic.write_text(tmp_path / "a", "x")
    assert steps == ["sync file", "rename", "sync folder"]


def test_file_size_limit_is_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "a"
    atomic.write_text(path, "old")
    with file_size_limit(1000), pytest.raises(OutputError, match=r"E71 .*/a: cannot be written: .*Fix: .*ulimit"):
        atomic.write_bytes(path, bytes(5000))
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("number", "code", "remedy"),
    [
        (errno.ENOSPC, 71, "free some space"),
        (errno.EDQUOT, 71, "quota"),
        (errno.EFBIG, 71, "ulimit"),
        (errno.EACCES, 70, "permission"),
        (errno.EROFS, 70, "read-only"),
        (errno.EIO, 70, "another folder"),
    ],
)
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_error_at_any_step_is_mapped_and_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int, code: int, remedy: str
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(*((os, "fsync", fail) if step == "fsync" else (Path, "replace", fail)))
    with pytest.raises(OutputError) as caught:
        atomic.write_text(tmp_path / "a", "x")
    assert caught.value.code == code
    assert remedy in caught.value.fix
    assert names(tmp_path) == []


def test_a_folder_in_the_files_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OutputError, match=r"E70 .*/a: .*is a directory.* remove it"):
        atomic.write_text(tmp_path / "a", "x")
    assert names(tmp_path) == ["a"]


def test_writable_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    atomic.check_writable_folder(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == []


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_a_file_in_the_folders_place_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"E70 .*is a file|E70 .*a file stands"):
        atomic.check_writable_folder(tmp_path / folder)


def test_a_folder_without_space_is_refused(tmp_path: Path) -> None:
    with file_size_limit(0), pytest.raises(OutputError, match="E71"):
        atomic.check_writable_folder(tmp_path)
    assert names(tmp_path) == []


def test_remove_accepts_an_absent_file_and_maps_errors(tmp_path: Path) -> None:
    atomic.remove(tmp_path / "absent")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="E70"):
        atomic.remove(tmp_path / "folder")


def test_a_killed_writer_leaves_the_old_file_and_a_leftover_that_is_swept(tmp_path: Path) -> None:
    path = tmp_path / "a"
    atomic.write_text(path, "old")
    program = (
        "import sys, time, pathlib; from picker_runtime.atomic import atomic_writer\n"
        "with atomic_writer(pathlib.Path(sys.argv[1]), 'w') as s:\n"
        "    s.write('new'); s.flush(); print('writing', flush=True); time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE, env=environment) as child:
        if child.stdout is None or child.stdout.readline() != b"writing\n":
            pytest.fail("the writer did not start")
        assert atomic.sweep_leftovers(tmp_path) == []  # it is alive
        child.send_signal(signal.SIGKILL)
    assert path.read_text() == "old"
    assert len(names(tmp_path)) == 2
    assert len(atomic.sweep_leftovers(tmp_path)) == 1
    assert names(tmp_path) == ["a"]


def test_sweeping_spares_the_living_other_machines_and_strangers(tmp_path: Path) -> None:
    host = atomic._host()
    own, other, one = f"{atomic.RUN}00000000", "0" * 16, "0" * 15 + "1"
    spared = [f".picker-{os.getpid()}-{host}-{own}", f".picker-999999999-elsewhere-{other}", ".picker-notes"]
    spared.append(f".picker-999999999-{socket.gethostname()}-{other}")  # of another namespace of process ids
    stale = [f".picker-999999999-{host}-{other}", f".picker-1-elsewhere-{one}"]
    stale.append(f".picker-{os.getpid()}-{host}-{other}")  # of one that had this number before, as in a container
    for name in [*spared, *stale]:
        (tmp_path / name).touch()
    long_ago = time.time() - 2 * atomic.LEFTOVER_SECONDS
    os.utime(tmp_path / stale[1], (long_ago, long_ago))
    for name in (spared[0], spared[2]):
        os.utime(tmp_path / name, (long_ago, long_ago))  # or a clock that was set forward
    assert atomic.sweep_leftovers(tmp_path) == sorted(stale)
    assert names(tmp_path) == sorted(spared)


def test_machines_that_are_called_alike_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    here = atomic._host()
    assert here.startswith("localhost_")
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: "another-boot-of-another-machine")
    assert atomic._host() != here


def test_who_holds_a_folder_makes_others_wait_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def second() -> None:
        with atomic.holding(tmp_path):
            order.append("second")

    with atomic.holding(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]
    monkeypatch.setattr(atomic, "HOLD_SECONDS", 0.1)
    with atomic.holding(tmp_path):
        second()
    assert order[2:] == ["second"]


def test_a_folder_that_cannot_be_held_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with atomic.holding(tmp_path / "none"):
        pass

    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, "not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    began = time.monotonic()
    with atomic.holding(tmp_path), atomic.holding(tmp_path):
        pass
    assert time.monotonic() - began < 5

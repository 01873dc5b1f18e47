"""Atomic writes: a file is absent, or as it was, or complete, also after a kill, a power loss or a full disk."""

import errno
import fcntl
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

from picker_runtime.errors import OutputError

DISK_FULL = {
    errno.ENOSPC: "free some space, or choose another disk with -o",
    errno.EDQUOT: "free some of your quota, or choose another disk with -o",
    errno.EFBIG: "raise the file size limit (ulimit -f), or choose another disk with -o",
}
NOT_WRITABLE = {
    errno.EACCES: "ask for write permission, or choose another folder with -o",
    errno.EPERM: "ask for write permission, or choose another folder with -o",
    errno.EROFS: "this file system is read-only; choose another folder with -o",
    errno.ENOTDIR: "a part of this path is a file; choose another folder with -o",
    errno.EEXIST: "a file stands where the folder should be; choose another folder with -o",
    errno.EISDIR: "a folder stands where the file should be; remove it",
    errno.ENAMETOOLONG: "shorten the name of the tomogram",
}
LEFTOVER = re.compile(r"\.picker-(?P<pid>\d+)-(?P<host>.+)-(?P<run>[0-9a-f]{8})?[0-9a-f]{8}")
LEFTOVER_SECONDS = 86400
"""After a day another machine's temporary file is stale: its process ids mean nothing here."""
RUN = secrets.token_hex(4)
"""Tells this process from an earlier one that had its number, as a container's first process has after a restart."""
HOLD_SECONDS, POLL_SECONDS = 60.0, 0.05


def output_error(path: Path, error: OSError) -> OutputError:
    """Return the error of ours that stands for an operating system's: E71 for a full disk, E70 otherwise."""
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    if error.errno in DISK_FULL:
        return OutputError(71, str(path), f"cannot be written: {reason}", DISK_FULL[error.errno])
    fix = NOT_WRITABLE.get(error.errno or 0, "choose another folder with -o")
    return OutputError(70, str(path), f"cannot be written: {reason}", fix)


@contextmanager
def atomic_writer(path: Path, mode: Literal["w", "wb"]) -> Iterator[IO[Any]]:
    """Give a stream whose content replaces `path` when the block ends well and leaves no trace when it does not.

    Text is UTF-8 with LF line ends; undecodable bytes of file names pass through unchanged.

    Raises:
        OutputError: E71 if the disk is full, E70 if the file cannot be written for another reason.
    """
    temporary = _temporary_in(path.parent)
    try:
        try:
            with _open_new(temporary, mode) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise output_error(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Replace a file's content by this text, atomically.

    Raises:
        OutputError: as `atomic_writer`.
    """
    with atomic_writer(path, "w") as stream:
        stream.write(text)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file's content by these bytes, atomically.

    Raises:
        OutputError: as `atomic_writer`.
    """
    with atomic_writer(path, "wb") as stream:
        stream.write(content)


def remove(path: Path) -> None:
    """Remove a file that may be absent.

    Raises:
        OutputError: E70 if it is there and stays.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from error


def check_writable_folder(path: Path) -> None:
    """Make the folder and prove, by writing a byte, that files can be made in it.

    Raises:
        OutputError: E70 if it cannot be made or written, E71 if its disk is full.
    """
    probe = _temporary_in(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        try:
            with _open_new(probe, "wb") as stream:
                stream.write(b"\n")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from error


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Hold a folder while files are written that belong together; others on this machine wait, a minute at most.

    A folder that is not there or cannot be locked is not held.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        deadline = time.monotonic() + HOLD_SECONDS
        while not try_lock(descriptor) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)  # and with it the lock


def try_lock(descriptor: int) -> bool:
    """Lock an open file or folder for this process, or tell that another has it; nobody has it where no locks are."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks: at worst two processes do the same
    return True


def sweep_leftovers(folder: Path) -> list[str]:
    """Remove the temporary files that killed processes of this machine left, and return their names."""
    removed = []
    for path in sorted(folder.glob(".picker-*")):
        with suppress(OSError):
            if _is_stale(path):
                path.unlink()
                removed.append(path.name)
    return removed


def _is_stale(path: Path) -> bool:
    match = LEFTOVER.fullmatch(path.name)
    if match is None:
        return False
    if match["host"] == _host():
        pid = int(match["pid"])
        return match["run"] != RUN if pid == os.getpid() else not _is_alive(pid)
    return time.time() - path.stat().st_mtime > LEFTOVER_SECONDS


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # alive, but another user's
    return True


def _host() -> str:
    """Return where process ids mean what they mean here: this machine since it started, this namespace of process ids.

    Machines on a network are often called alike.
    """
    boot, namespace = "", 0
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8")[:8]
    with suppress(OSError):
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    return re.sub(r"[^A-Za-z0-9.]", "_", f"{socket.gethostname()[:64]}_{boot}_{namespace}")


def _temporary_in(folder: Path) -> Path:
    return folder / f".picker-{os.getpid()}-{_host()}-{RUN}{secrets.token_hex(4)}"


def _open_new(path: Path, mode: Literal["w", "wb"]) -> IO[Any]:
    if mode == "wb":
        return path.open("xb")
    return path.open("x", encoding="utf-8", errors="surrogateescape", newline="\n")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)

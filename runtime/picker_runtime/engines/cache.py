"""A private cache of built engines: each under a key of all it depends on, with its hash beside it.

A plan holds code, so that only plans are loaded that this user's own process wrote: the folder belongs to the user and
nobody else may write in it. Two processes that need the same plan build it once, one after the other.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, TypeVar

from picker_runtime.atomic import output_error, sweep_leftovers, try_lock, write_bytes, write_text
from picker_runtime.errors import EngineError, OutputError

ENGINES = "engines"
OTHERS_MAY_WRITE = 0o022
POLL_SECONDS = 0.2
PLAN, LOCK = ".plan", ".lock"
MOST_BYTES = 2**30
"""Of all plans, some 8 MB each: beyond it those go that have been of no use for longest."""

Say = Callable[[str], None]
T = TypeVar("T")


def cache_folder() -> Path:
    """Return the folder for what can be made again: `PICKER_CACHE_DIR`, else ~/.cache/picker."""
    try:
        return Path(os.environ.get("PICKER_CACHE_DIR") or Path.home() / ".cache" / "picker")
    except RuntimeError:  # neither HOME nor an entry for this user: there is nowhere to write
        return Path(os.devnull) / "picker"


class PlanRefusedError(Exception):
    """The library does not take a plan, for the reason it gives."""


@dataclass(frozen=True, kw_only=True)
class PlanKey:
    """All that a built engine depends on.

    model: sha256 of the graph. version: the library's. profile: shapes of `cubes` it is built for. gpu,
    compute_capability, driver: what it is built for; empty for a plan that fits every GPU. options: any others.
    """

    model: str
    library: str
    version: str
    precision: str
    profile: tuple[tuple[int, ...], ...]
    gpu: str = ""
    compute_capability: str = ""
    driver: str = ""
    options: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Return the key as a file name."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Cached(Generic[T]):
    """What was loaded, and what a user should know of it; None for nothing."""

    value: T
    note: str | None = None


class EngineCache:
    """Built engines in a folder that only its owner may write; without such a folder each is built anew."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or cache_folder()) / ENGINES

    @property
    def is_private(self) -> bool:
        """Whether what stands in the folder can be trusted and kept."""
        return not self.trouble()

    @property
    def size(self) -> int:
        """Bytes of all that stands in the folder."""
        return sum(size for _, _, size in self._files())

    def path(self, key: PlanKey) -> Path:
        """Return where the plan of this key stands."""
        return self.folder / f"{key.digest}{PLAN}"

    def get(self, key: PlanKey, *, build: Callable[[], bytes], load: Callable[[bytes], T], say: Say) -> Cached[T]:
        """Return what `load` makes of the plan with this key, built first where there is none.

        load: raises PlanRefusedError for a plan that the library does not take; one from the cache is then built again.

        Raises:
            EngineError: E60 if a plan is refused that was built just now.
            Whatever else `build` and `load` raise.
        """
        trouble = self.trouble()
        if trouble:
            return Cached(_fresh(key, load, build()), f"{trouble}; the engine was built anew")
        with _exclusive(self.path(key).with_suffix(LOCK), say):
            plan, problem = self._read(key)
            if plan is not None:
                try:
                    return Cached(load(plan))
                except PlanRefusedError as refusal:
                    problem = f"the engine in the cache is refused ({refusal})"
            plan = build()
            stored = self._write(key, plan)
        notes = [note for note in (problem and f"{problem}: it was built again", stored) if note]
        return Cached(_fresh(key, load, plan), "; ".join(notes) or None)

    def trouble(self) -> str:
        """Make the folder; return why no plan in it can be trusted or kept, empty for no trouble."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            facts, above = self.folder.stat(), self.folder.parent.stat()
        except OSError as error:
            return f"cache {self.folder} cannot be used: {output_error(self.folder, error).problem}"
        if above.st_uid not in (os.geteuid(), 0):
            return f"cache {self.folder.parent} is another user's: name a folder of your own with PICKER_CACHE_DIR"
        if facts.st_uid != os.geteuid() or facts.st_mode & OTHERS_MAY_WRITE:
            return f"cache {self.folder} may be written by others: make it yours, mode 0700"
        if not os.access(self.folder, os.W_OK | os.X_OK):
            return f"cache {self.folder} cannot be written"
        return ""

    def _files(self) -> list[tuple[Path, float, int]]:
        """Return the files in the folder, when each was last of use, and their sizes."""
        found = []
        for path in self.folder.glob("*"):
            with suppress(OSError):
                facts = path.stat()
                found.append((path, facts.st_mtime, facts.st_size))
        return found

    def _prune(self) -> None:
        """Remove the plans that have been of no use for longest, with all that belongs to them, down to the limit."""
        sweep_leftovers(self.folder)
        groups: dict[str, list[tuple[Path, float, int]]] = {}
        for file in self._files():
            groups.setdefault(file[0].name.partition(".")[0], []).append(file)
        oldest_first = sorted(groups.values(), key=lambda files: max(mtime for _, mtime, _ in files))
        excess = sum(size for files in oldest_first for _, _, size in files) - MOST_BYTES
        for files in oldest_first[:-1]:  # the last is the one just written
            for path, _, size in files if excess > 0 else ():
                if path.suffix != LOCK:
                    with suppress(OSError):
                        path.unlink()
                        excess -= size

    def _read(self, key: PlanKey) -> tuple[bytes | None, str]:
        """Return the plan, or None and what is wrong with it (nothing where it was never built)."""
        path = self.path(key)
        try:
            facts, plan = json.loads(path.with_suffix(".json").read_text("utf-8")), path.read_bytes()
            expected = facts["plan_sha256"]
        except FileNotFoundError:
            return None, ""
        except (OSError, ValueError, KeyError, TypeError) as error:
            return None, f"the engine in the cache cannot be read ({error})"
        if hashlib.sha256(plan).hexdigest() != expected:
            return None, "the engine in the cache is damaged"
        with suppress(OSError):
            os.utime(path)  # it is of use
        return plan, ""

    def _write(self, key: PlanKey, plan: bytes) -> str:
        """Store a plan, its facts last; return why that failed, empty if it did not."""
        facts = asdict(key) | {"plan_sha256": hashlib.sha256(plan).hexdigest()}
        try:
            write_bytes(self.path(key), plan)
            write_text(self.path(key).with_suffix(".json"), json.dumps(facts, indent=2) + "\n")
        except OutputError as error:
            return f"the engine could not be kept: {error.problem}"
        self._prune()
        return ""


def _fresh(key: PlanKey, load: Callable[[bytes], T], plan: bytes) -> T:
    try:
        return load(plan)
    except PlanRefusedError as refusal:
        problem = f"refuses an engine that it has just built ({refusal})"
        raise EngineError(60, key.library, problem, "use another --engine on this GPU") from refusal


@contextmanager
def _exclusive(path: Path, say: Say) -> Iterator[None]:
    """Hold a lock on this file, saying so while another process holds it; go on without where there are no locks."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:  # a full disk, say, which is no reason not to build
        yield
        return
    try:
        _lock(descriptor, say)
        yield
    finally:
        os.close(descriptor)  # and with it the lock


def _lock(descriptor: int, say: Say) -> None:
    start, said = time.monotonic(), -1.0
    while not try_lock(descriptor):
        waited = time.monotonic() - start
        if waited - said >= 10 or said < 0:
            say(f"another process builds this engine; waiting ({waited:.0f} s)")
            said = waited
        time.sleep(POLL_SECONDS)

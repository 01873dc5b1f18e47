import fcntl
import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from picker_runtime.atomic import check_writable_folder
from picker_runtime.engines import cache as cache_module
from picker_runtime.engines.cache import EngineCache, PlanKey, PlanRefusedError, cache_folder
from picker_runtime.errors import EngineError, OutputError


def test_without_a_home_the_folder_is_one_that_nobody_can_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PICKER_CACHE_DIR", raising=False)

    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    with pytest.raises(OutputError, match="E70"):
        check_writable_folder(cache_folder())


KEY = PlanKey(model="ab" * 32, library="tensorrt", version="11.4", precision="fp16", profile=((1, 1, 64, 64, 64),))


class Library:
    """Builds numbered plans and loads those that it does not refuse."""

    def __init__(self, *, refused: tuple[bytes, ...] = ()) -> None:
        self.built = 0
        self.loaded: list[bytes] = []
        self.refused = refused
        self.said: list[str] = []

    def build(self) -> bytes:
        self.built += 1
        return b"plan %d" % self.built

    def load(self, plan: bytes) -> str:
        self.loaded.append(plan)
        if plan in self.refused:
            raise PlanRefusedError("another GPU")
        return plan.decode()

    def get(self, cache: EngineCache, key: PlanKey = KEY) -> tuple[str, str | None]:
        found = cache.get(key, build=self.build, load=self.load, say=self.said.append)
        return found.value, found.note


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path)


def test_a_plan_is_built_once(cache: EngineCache) -> None:
    library = Library()
    assert library.get(cache) == ("plan 1", None)
    assert library.get(cache) == ("plan 1", None)
    assert library.built == 1
    assert library.said == []


@pytest.mark.parametrize(
    "change",
    [{"model": "cd" * 32}, {"library": "tensorrt-rtx"}, {"version": "11.5"}, {"precision": "fp32"},
     {"profile": ((2, 1, 64, 64, 64),)}, {"gpu": "H200"}, {"compute_capability": "9.0"}, {"driver": "13000"},
     {"options": ("compatible",)}],
)  # fmt: skip
def test_whatever_a_plan_depends_on_has_a_plan_of_its_own(cache: EngineCache, change: dict) -> None:
    library = Library()
    library.get(cache)
    assert library.get(cache, replace(KEY, **change)) == ("plan 2", None)
    assert library.get(cache) == ("plan 1", None)


def test_only_the_owner_may_look_into_the_cache(cache: EngineCache) -> None:
    Library().get(cache)
    assert cache.folder.stat().st_mode & 0o777 == 0o700


def test_the_hash_and_the_key_stand_beside_the_plan(cache: EngineCache) -> None:
    Library().get(cache)
    facts = json.loads(cache.path(KEY).with_suffix(".json").read_text())
    assert (facts["library"], facts["version"], facts["precision"]) == ("tensorrt", "11.4", "fp16")
    assert len(facts["plan_sha256"]) == 64


@pytest.mark.parametrize(
    ("suffix", "content", "why"),
    [(".plan", b"plan 2", "damaged"), (".json", b"{", "cannot be read"), (".json", b"{}", "cannot be read")],
)
def test_a_damaged_plan_is_never_loaded_but_built_again(
    cache: EngineCache, suffix: str, content: bytes, why: str
) -> None:
    Library().get(cache)
    cache.path(KEY).with_suffix(suffix).write_bytes(content)
    library = Library()
    value, note = library.get(cache)
    assert value == "plan 1"
    assert library.loaded == [b"plan 1"]
    assert note is not None
    assert why in note
    assert "built again" in note
    assert library.get(cache) == ("plan 1", None)


def test_a_plan_without_its_facts_counts_as_never_built(cache: EngineCache) -> None:
    Library().get(cache)
    cache.path(KEY).with_suffix(".json").unlink()
    library = Library()
    assert library.get(cache) == ("plan 1", None)
    assert library.built == 1


def test_a_refused_plan_is_built_again_once(cache: EngineCache) -> None:
    Library().get(cache)
    library = Library(refused=(b"plan 1",))
    library.built = 1
    value, note = library.get(cache)
    assert value == "plan 2"
    assert note == "the engine in the cache is refused (another GPU): it was built again"
    assert library.built == 2


def test_a_fresh_plan_that_is_refused_is_an_error(cache: EngineCache) -> None:
    library = Library(refused=(b"plan 1", b"plan 2"))
    with pytest.raises(EngineError, match=r"E60 tensorrt: .*another GPU"):
        library.get(cache)
    assert library.built == 1


def test_a_folder_that_others_may_write_is_not_trusted(cache: EngineCache) -> None:
    Library().get(cache)
    cache.folder.chmod(0o770)
    library = Library()
    library.built = 6
    value, note = library.get(cache)
    assert value == "plan 7"
    assert note is not None
    assert "mode 0700" in note
    assert not cache.is_private
    cache.folder.chmod(0o700)
    assert Library().get(cache) == ("plan 1", None)


def test_where_nothing_can_be_kept_the_engine_is_built_every_time(tmp_path: Path) -> None:
    (tmp_path / "engines").write_text("a file in its place")
    library = Library()
    for number in (1, 2):
        value, note = library.get(EngineCache(tmp_path))
        assert value == f"plan {number}"
        assert note is not None
        assert "built anew" in note


def test_a_full_disk_costs_the_cache_not_the_engine(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise cache_module.OutputError(71, str(path), "cannot be written: no space left", "free some space")

    monkeypatch.setattr(cache_module, "write_bytes", full)
    value, note = Library().get(cache)
    assert value == "plan 1"
    assert note == "the engine could not be kept: cannot be written: no space left"


def test_a_failed_build_leaves_nothing_and_frees_the_lock(cache: EngineCache) -> None:
    def fail() -> bytes:
        raise EngineError(62, "x", "unsupported", "none")

    with pytest.raises(EngineError, match="E62"):
        cache.get(KEY, build=fail, load=Library().load, say=print)
    assert not cache.path(KEY).exists()
    assert Library().get(cache) == ("plan 1", None)


def test_while_another_process_builds_one_waits_and_says_so(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    Library().get(cache)
    monkeypatch.setattr(cache_module, "POLL_SECONDS", 0.01)
    other = os.open(cache.path(KEY).with_suffix(".lock"), os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    waiting, library, results = threading.Event(), Library(), []

    def say(line: str) -> None:
        library.said.append(line)
        waiting.set()

    def get() -> None:
        results.append(cache.get(KEY, build=library.build, load=library.load, say=say).value)

    thread = threading.Thread(target=get)
    thread.start()
    assert waiting.wait(30)
    assert results == []
    os.close(other)
    thread.join(30)
    assert results == ["plan 1"]
    assert library.built == 0
    assert "another process builds this engine" in library.said[0]


def test_the_folder_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICKER_CACHE_DIR", "/somewhere")
    assert cache_folder() == Path("/somewhere")
    monkeypatch.delenv("PICKER_CACHE_DIR")
    assert cache_folder() == Path.home() / ".cache/picker"


def test_a_folder_in_another_user_s_is_not_trusted(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    library.get(cache)
    mine = os.geteuid()
    original = Path.stat

    def stat(path: Path, **options: bool) -> object:
        facts = original(path, **options)  # type: ignore[arg-type]
        above = path == cache.folder.parent
        return SimpleNamespace(st_uid=mine + 1, st_mode=facts.st_mode) if above else facts

    monkeypatch.setattr(Path, "stat", stat)
    assert "is another user's" in cache.trouble()
    assert library.get(cache)[0] == "plan 2"


def test_beyond_the_limit_those_go_that_were_of_no_use_for_longest(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library()
    keys = [replace(KEY, model=f"{number:064d}") for number in range(4)]
    for age, key in enumerate(keys[:3]):
        library.get(cache, key)
        cache.path(key).with_suffix(".facts.kernels").write_bytes(b"compiled")
        os.utime(cache.path(key), (1000 + age, 1000 + age))
    library.get(cache, keys[0])  # of use again
    size = cache.size
    assert size == sum(path.stat().st_size for path in cache.folder.iterdir())
    monkeypatch.setattr(cache_module, "MOST_BYTES", size)
    library.get(cache, keys[3])
    left = {path.name.partition(".")[0] for path in cache.folder.iterdir() if path.suffix != ".lock"}
    assert left == {keys[number].digest for number in (0, 2, 3)}
    assert cache.size <= size
    monkeypatch.setattr(cache_module, "MOST_BYTES", 0)
    library.get(cache, replace(KEY, model="ef" * 32))
    assert [path.suffix for path in cache.folder.glob("*.plan")] == [".plan"]  # what was just built stays

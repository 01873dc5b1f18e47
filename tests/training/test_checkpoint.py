from pathlib import Path

import pytest
import torch
from torch import Tensor

from picker_runtime.errors import UsageError
from picker_training.checkpoint import FILE, Checkpoint, load_checkpoint, save_checkpoint

CPU = torch.device("cpu")


def checkpoint(step: int = 3) -> Checkpoint:
    weights: dict[str, Tensor] = {"layer.weight": torch.arange(6.0).reshape(2, 3)}
    optimiser = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    return Checkpoint(step=step, weights=weights, average={"layer.weight": torch.ones(2, 3)}, optimiser=optimiser)


def test_a_checkpoint_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint())
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.step == 3
    assert torch.equal(loaded.weights["layer.weight"], checkpoint().weights["layer.weight"])
    assert torch.equal(loaded.average["layer.weight"], torch.ones(2, 3))
    assert loaded.optimiser == checkpoint().optimiser


def test_a_run_without_one_starts_anew(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", b"PK\x03\x04 half a zip file"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / FILE).write_bytes(damage)
    with pytest.raises(UsageError, match="not a checkpoint") as caught:
        load_checkpoint(tmp_path)
    assert caught.value.code == 83


def test_half_a_checkpoint_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint())
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content[: len(content) // 2])
    with pytest.raises(UsageError, match="not a checkpoint"):
        load_checkpoint(tmp_path)


def test_one_of_another_version_is_refused(tmp_path: Path) -> None:
    torch.save({"step": 3, "weights": {}}, tmp_path / FILE)
    with pytest.raises(UsageError, match="not a checkpoint"):
        load_checkpoint(tmp_path)


def test_the_one_before_stays_until_the_new_one_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, checkpoint(3))

    def killed(state: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, checkpoint(4))
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.step == 3
    assert [path.name for path in tmp_path.iterdir()] == [FILE]

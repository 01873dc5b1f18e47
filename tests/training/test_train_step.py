"""One step of the trainer: what the network's loss is told."""

from pathlib import Path
from typing import Any

import pytest
from training.test_trainer import run, trainer

from picker_training.datasets.scenes import StoredScene
from picker_training.detectors.base import Loss


def test_the_loss_hears_of_the_halo(stored_scene: StoredScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = trainer(stored_scene, tmp_path, steps=1)
    loss, halos = one.network.loss, []

    def heard(*arguments: Any, halo: int) -> Loss:
        halos.append(halo)
        return loss(*arguments, halo=halo)

    monkeypatch.setattr(one.network, "loss", heard)
    run(one)
    assert one.config.data.halo == 4
    assert halos == [4]

"""Picks in the tomograms that a run held out: thresholds are those chosen on its validation tomogram."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training import shrec_set
from training.phantoms import CLASSES
from training.test_fit_shrec import CONFIG

from picker_runtime.card import ModelCard
from picker_runtime.detections import Detections
from picker_training import held_out
from picker_training.datasets.annotated import AnnotatedVolume
from picker_training.networks import build_network


def test_held_out_picks_are_those_at_the_calibrated_thresholds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = shrec_set.write_set(tmp_path / "set")
    config = replace(CONFIG, annotated=replace(shrec_set.ANNOTATED, shrec=str(tmp_path / "set")))
    (tmp_path / "classes.json").write_text(json.dumps(dict.fromkeys(CLASSES, 60.0)))
    monkeypatch.setattr(held_out, "load_average", lambda *_: (build_network(config).eval(), 1))
    asked: list[ModelCard] = []

    def calibrated(card: ModelCard, found: Any, scenes: Sequence[AnnotatedVolume], **_: Any) -> ModelCard:
        assert sum(len(scene.positions) for scene in scenes) == len(places["model_1"])
        return replace(card, classes=tuple(replace(kind, threshold=0.77) for kind in card.classes))

    def picks_of(candidates: Detections, card: ModelCard, _: float) -> Detections:
        asked.append(card)
        return candidates

    monkeypatch.setattr(held_out, "calibrated", calibrated)
    monkeypatch.setattr(held_out, "picks_of", picks_of)
    ((folder, _),) = held_out.pick_held_out(tmp_path, config, torch.device("cpu"))
    assert folder.name == "model_2"
    assert [[kind.threshold for kind in card.classes] for card in asked] == [[0.77] * len(CLASSES)]

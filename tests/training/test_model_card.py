import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training.phantoms import CLASSES

from picker_runtime.bundle import Bundle
from picker_runtime.card import ModelCard
from picker_runtime.engines.cpu import INPUTS, OUTPUTS
from picker_runtime.errors import EngineError, ModelError
from picker_training.config import DataSection, ModelSection, TrainingConfig
from picker_training.detectors.options import PointOptions
from picker_training.detectors.point import PointDetector
from picker_training.device import choose_device
from picker_training.model_card import (
    TILE_VOXELS,
    decoded,
    diameters_voxels,
    draft_card,
    load_network,
    tile_for,
)
from picker_training.networks import build_network
from picker_training.torch_engine import TorchEngine

CONFIG = TrainingConfig(
    model=ModelSection(name="tiny", classes=CLASSES, voxel_size_angstrom=8.0), point=PointOptions(widths=(8, 8, 8))
)
ALIGNMENT = PointDetector.alignment
DIAMETERS = {"3gl1": 64.04, "3h84": 80.0, "1u6g": 96.0}


@pytest.fixture
def card() -> ModelCard:
    return draft_card(CONFIG, DIAMETERS)


def test_the_card_of_a_network_in_training_is_a_card(card: ModelCard) -> None:
    assert ModelCard.from_json(card.to_json(), subject="card.json") == card
    assert (card.name, card.voxel_size_angstrom, card.polarity) == ("tiny", 8.0, "dark")
    assert [c.name for c in card.classes] == list(CLASSES)
    assert [c.diameter_angstrom for c in card.classes] == [64.0, 80.0, 96.0]
    assert len({c.colour for c in card.classes}) == 3


def test_what_was_not_learnt_along_faces_is_the_margin(card: ModelCard) -> None:
    assert card.margin == 0
    assert draft_card(replace(CONFIG, data=DataSection(crop=64, halo=8)), DIAMETERS).margin == 8


def test_diameters_are_in_voxels_of_the_model_s_grid(card: ModelCard) -> None:
    assert diameters_voxels(card).tolist() == [8.0, 10.0, 12.0]


@pytest.mark.parametrize("alignment", [4, 8, 16])
def test_the_largest_cube_is_as_large_as_memory_allows(alignment: int) -> None:
    tile = tile_for(alignment)
    assert all(edge % alignment == 0 for edge in tile)
    assert math.prod(tile) <= TILE_VOXELS < math.prod(edge + alignment for edge in tile)


def test_a_tile_holds_more_cells_than_candidates(card: ModelCard) -> None:
    assert math.prod(edge // card.output_stride for edge in card.tile) > card.max_candidates


def test_the_network_runs_as_an_engine(card: ModelCard) -> None:
    cubes = np.random.default_rng(0).normal(size=(2, 1, 32, 32, 32)).astype(np.float32)
    inputs = dict(zip(INPUTS, (cubes, np.zeros(2, np.float32), np.ones(2, np.float32)), strict=True))
    detector = decoded(build_network(CONFIG), card)
    with TorchEngine(detector, batch=2) as engine:
        outputs = engine.infer(inputs)
    assert set(outputs) == set(OUTPUTS)
    assert not detector.training
    with torch.no_grad():
        wanted = detector(*(torch.from_numpy(inputs[name]) for name in INPUTS))
    for name, value in zip(OUTPUTS, wanted, strict=True):
        assert np.array_equal(outputs[name], value.numpy())


def test_validation_in_float32_is_no_tf32(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    detector = decoded(build_network(CONFIG), card)
    forward = detector.forward

    def spied(*inputs: torch.Tensor) -> object:
        seen.append(torch.backends.cudnn.allow_tf32)
        return forward(*inputs)

    monkeypatch.setattr(detector, "forward", spied)
    before = torch.backends.cudnn.allow_tf32
    cubes = np.zeros((1, 1, 32, 32, 32), np.float32)
    inputs = dict(zip(INPUTS, (cubes, np.zeros(1, np.float32), np.ones(1, np.float32)), strict=True))
    with TorchEngine(detector) as engine:
        engine.infer(inputs)
    assert seen == [False]
    assert torch.backends.cudnn.allow_tf32 == before


def test_the_decoding_is_on_the_network_s_device(card: ModelCard) -> None:
    detector = decoded(build_network(CONFIG).to("meta"), card)
    assert {value.device.type for value in (*detector.parameters(), *detector.buffers())} == {"meta"}


def test_a_bundle_without_weights_has_no_network(golden_model: Path, card: ModelCard) -> None:
    bundle = Bundle.open(golden_model)
    with pytest.raises(ModelError, match="does not describe a network") as undescribed:
        load_network(bundle)
    described = replace(bundle.card, training={"architecture": build_network(CONFIG).facts()})
    with pytest.raises(ModelError, match=r"no weights\.safetensors") as empty:
        load_network(replace(bundle, card=described))
    assert undescribed.value.code == empty.value.code == 51


def test_the_device_is_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("cpu") == choose_device("auto") == torch.device("cpu")
    with pytest.raises(EngineError, match="sees no GPU") as caught:
        choose_device("cuda")
    assert caught.value.code == 60
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")


def test_threads_are_set_where_given() -> None:
    choose_device("cpu", 2)
    assert torch.get_num_threads() == 2
    choose_device("cpu")
    assert torch.get_num_threads() == 2

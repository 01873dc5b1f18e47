import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picker_runtime.card import NAME
from picker_runtime.errors import UsageError
from picker_training.config import DataSection, ModelSection, OptimiserSection, TrainingConfig, dump_config, load_config
from picker_training.detectors.options import PointOptions
from picker_training.detectors.point import PointDetector

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
NAMES = st.from_regex(NAME, fullmatch=True).filter(str.isascii)
WHOLE = st.integers(1, 10**9)
REAL = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(1e-6, 1e6)
SHARE = st.floats(0.0, 1.0)

CONFIGS = st.builds(
    TrainingConfig,
    seed=st.integers(),
    workers=WHOLE,
    model=st.builds(
        ModelSection, name=NAMES, classes=st.lists(NAMES, min_size=1, unique=True).map(tuple),
        voxel_size_angstrom=POSITIVE,
    ),
    point=st.builds(
        PointOptions, widths=st.tuples(WHOLE, WHOLE, WHOLE), blocks=st.tuples(WHOLE, WHOLE, WHOLE),
        objectness=st.sampled_from(["own", "classes"]), class_window=st.sampled_from([1, 3, 5]),
        assignment=st.sampled_from(["gaussian", "own_cell"]), objectness_loss=st.sampled_from(["focal", "varifocal"]),
        class_weight=POSITIVE, label_smoothing=st.floats(0.0, 0.9), deep_supervision=SHARE, sphere_weight=SHARE,
    ),
    data=st.builds(
        DataSection, scenes=WHOLE, strangers=st.lists(TEXT).map(tuple), crop=st.sampled_from([32, 96]),
        halo=st.integers(0, 15), snr=st.tuples(POSITIVE, POSITIVE).map(sorted).map(tuple),
        turn_probability=SHARE, int8_probability=SHARE, balanced_probability=SHARE,
        warp_probability=SHARE,
        spin_degree=st.floats(0.0, 180.0), tilt_degree=st.floats(0.5, 15.0), scale=st.floats(0.0, 0.2),
        erase_probability=SHARE, mix_probability=SHARE,
    ),
    optimiser=st.builds(
        OptimiserSection, steps=WHOLE, batch=WHOLE, learning_rate=REAL, warmup=st.integers(), weight_decay=REAL,
        clip_norm=REAL, average=REAL, checkpoint_every=WHOLE, validate_every=WHOLE,
    ),
)  # fmt: skip


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text, "utf-8")
    return path


@given(CONFIGS)
@settings(max_examples=100)
def test_a_configuration_is_read_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, config: TrainingConfig
) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.toml"
    path.write_text(dump_config(config), "utf-8")
    assert load_config(path) == config


def test_without_a_file_or_a_key_the_defaults_hold(tmp_path: Path) -> None:
    assert load_config(None) == TrainingConfig()
    assert load_config(written(tmp_path, "")) == TrainingConfig()
    config = load_config(written(tmp_path, "seed = 3\n[optimiser]\nsteps = 7\n"))
    assert config == TrainingConfig(seed=3, optimiser=OptimiserSection(steps=7))


def test_a_whole_number_may_stand_for_a_real_one(tmp_path: Path) -> None:
    value = load_config(written(tmp_path, "[model]\nvoxel_size_angstrom = 8\n")).model.voxel_size_angstrom
    assert isinstance(value, float)
    assert value == 8.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sed = 1", ["unknown key sed", "did you mean 'seed'"]),
        ("[optimiser]\nstep = 1", ["unknown key optimiser.step", "did you mean 'steps'"]),
        ("[optimizer]\nsteps = 1", ["unknown key optimizer", "did you mean 'optimiser'"]),
        ("qqqqqq = 1", ["unknown key qqqqqq", "use one of seed, workers"]),
        ("seed = true", ["seed is True", "expected int"]),
        ("seed = 1.5", ["seed is 1.5", "expected int"]),
        ('[data]\nsnr = ["a", 1.0]', ["data.snr is 'a'", "expected float"]),
        ("[data]\nsnr = 0.1", ["data.snr is 0.1", "expected a list"]),
        ("model = 3", ["model is no table", "write [model]"]),
        ("[model]\nname = 3", ["model.name is 3", "expected str"]),
        ("seed =", ["not a readable TOML file"]),
        ("[data]\ncrop = 30", ["data.crop is 30", "multiple of 8"]),
        ("[data]\nhalo = 48", ["data.crop is 96", "two halos of 48"]),
        ("[data]\nsnr = [0.1]", ["data.snr is [0.1]", "lowest and highest"]),
        ("[data]\nsnr = [0.2, 0.1]", ["data.snr is [0.2, 0.1]"]),
        ("[data]\nscenes = 0", ["data.scenes is 0"]),
        ("[data]\nturn_probability = 2.0", ["data.turn_probability is 2.0", "0 to 1"]),
        ("[data]\nmix_probability = -0.1", ["data.mix_probability is -0.1", "0 to 1"]),
        ("[data]\nwarp_probability = 0.5", ["data.warp_probability is 0.5", "spin_degree, tilt_degree or scale"]),
        ("[data]\nwarp_probability = 0.5\ntilt_degree = 16.0", ["data.tilt_degree is 16.0", "0 to 15"]),
        ("[data]\nspin_degree = 200.0", ["data.spin_degree is 200.0", "0 to 180"]),
        ("[data]\nscale = 0.3", ["data.scale is 0.3", "0 to 0.2"]),
        ("[point]\nwidths = [8, 8]", ["point.widths are [8, 8]", "three numbers"]),
        ('[point]\nassignment = "best"', ["point.assignment is 'best'", "gaussian, own_cell, aligned"]),
        ('[point]\nassignment = "aligned"', ["point.objectness_loss is 'focal'", "'varifocal' with 'aligned'"]),
        ('[point]\nobjectness = "none"', ["point.objectness is 'none'", "own, classes"]),
        ("[point]\nclass_window = 2", ["point.class_window is 2", "odd"]),
        ("[point]\nlabel_smoothing = 1.0", ["point.label_smoothing is 1.0"]),
        ("[point]\nsphere_weight = -1.0", ["point.sphere_weight is -1.0", "0 or more"]),
        ('[model]\nname = "My Model"', ["model.name 'My Model'", "lower-case"]),
        ("[model]\nclasses = []", ["model.classes are []"]),
        ('[model]\nclasses = ["a"]', ["model.name is 'shrec12'", "a name of its own"]),
        ('[model]\nclasses = ["a", "a"]', ["model.classes are ['a', 'a']"]),
        ("[model]\nvoxel_size_angstrom = -1.0", ["model.voxel_size_angstrom is -1.0"]),
        ("[optimiser]\ncheckpoint_every = 0", ["optimiser.checkpoint_every is 0"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: list[str]) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        load_config(path)
    assert caught.value.code == 83
    assert caught.value.subject == str(path)
    for word in words:
        assert word in str(caught.value)


def test_a_file_that_is_absent_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "absent.toml", tmp_path / "binary.toml"):
        with pytest.raises(UsageError, match="not a readable TOML file"):
            load_config(path)


def test_crops_suit_the_network() -> None:
    assert DataSection(crop=PointDetector.alignment, halo=0).crop == PointDetector.alignment
    with pytest.raises(ValueError, match="multiple"):
        DataSection(crop=PointDetector.alignment // 2, halo=0)


def test_every_key_is_written_out() -> None:
    text = dump_config(TrainingConfig())
    for section in (ModelSection, DataSection, OptimiserSection):
        for entry in dataclasses.fields(section):
            assert f"\n{entry.name} = " in text

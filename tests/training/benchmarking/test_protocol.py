"""Protocols: their scenes are nobody else's, and as crowded as `bench12`."""

import math

import pytest

from picker_runtime.errors import UsageError
from picker_training import training_data
from picker_training.benchmarking.protocol import PROTOCOLS, find_protocol
from picker_training.simulator.presets import PRESETS

OTHERS = {
    *(seed for preset in PRESETS.values() for seed in preset.seeds),
    *training_data.CALIBRATION_SEEDS,
    training_data.VALIDATION_SEED,
    7101,
    7102,  # of the calibration of difficulty
}


def test_no_scene_is_used_twice() -> None:
    seeds = [
        seed
        for protocol in PROTOCOLS.values()
        for seed in (*protocol.training_seeds, protocol.calibration_seed, protocol.test_seed)
    ]
    assert len(set(seeds)) == len(seeds)
    assert not OTHERS & set(seeds)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_scenes_are_as_crowded_as_bench12(name: str) -> None:
    spec, bench = PROTOCOLS[name].spec, PRESETS["bench12"].spec
    assert spec.microscope == bench.microscope
    assert spec.particles / math.prod(spec.shape) == pytest.approx(bench.particles / math.prod(bench.shape), rel=2e-3)


def test_small_and_full_are_what_they_are_said_to_be() -> None:
    small, full = find_protocol("small"), find_protocol("full")
    assert (len(small.training_seeds), small.spec.shape, small.minutes, small.seeds) == (3, (128, 256, 256), 30.0, (1,))
    assert (len(full.training_seeds), full.spec.shape, len(full.seeds), full.paper_width) == (9, (200, 512, 512), 3, 1)
    assert (small.paper_width, small.timing_shape) == (0.25, (200, 512, 512))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_training_covers_every_difficulty(name: str) -> None:
    low, high = PROTOCOLS[name].training_snrs
    assert all(low <= difficulty.snr <= high for difficulty in PROTOCOLS[name].difficulties)
    assert {"SNR 0.1", "SHREC 2020 difficulty"} <= {difficulty.name for difficulty in PROTOCOLS[name].difficulties}


def test_an_unknown_protocol_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="give one of small, full"):
        find_protocol("smal")

"""Weights in half the size are exactly those that the graph was made of."""

import torch
from export.tiny_detectors import tiny_detector

from picker_export.half_weights import half_weights, round_to_half


def test_kept_weights_are_the_rounded_ones_and_only_kernels_are_rounded() -> None:
    network = tiny_detector().network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    round_to_half(network)
    kept = half_weights(network)
    rounded = network.state_dict()
    assert all(torch.equal(kept[name].float(), rounded[name].float()) for name in rounded)
    kernels = {name for name, value in before.items() if value.dim() > 1}
    assert {name for name, value in kept.items() if value.dtype == torch.float16} == kernels
    assert any(not torch.equal(before[name], rounded[name]) for name in kernels)
    assert all(torch.equal(before[name], rounded[name]) for name in before.keys() - kernels)

"""Optimisation: the optimiser of a run and its learning rate, step by step."""

import math

import torch
from torch import nn

from picker_training.config import TrainingConfig
from picker_training.detectors.base import Detector
from picker_training.muon import Muon

DROP_AT = 2 / 3
DROP_TO = 0.1
"""Adam's rate falls to a tenth after two thirds of the steps, as published for `paper`: after 100 of 150 epochs."""


def build_optimiser(config: TrainingConfig, network: Detector) -> torch.optim.Optimizer:
    """Return the optimiser that the configuration names; Adam has its weight decay in the gradient."""
    settings = config.optimiser
    if settings.kind == "muon":
        kernels, others = _split(network)
        return Muon(kernels, others, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    kind = torch.optim.Adam if settings.kind == "adam" else torch.optim.AdamW
    return kind(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)


def _split(network: Detector) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the kernels of all layers but the heads, and all other parameters."""
    heads = {id(weight) for head, _ in network.class_rows() for weight in head.parameters()}
    kernels = [p for p in network.parameters() if p.ndim > 1 and id(p) not in heads]
    known = {id(p) for p in kernels}
    return kernels, [p for p in network.parameters() if id(p) not in known]


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Return the rate of a step: after a linear warm-up one drop (`adam`), or half a cosine to 1 %.

    The warm-up takes a tenth of the steps at most.
    """
    settings = config.optimiser
    warmup = min(settings.warmup, settings.steps // 10)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    if settings.kind == "adam":
        return settings.learning_rate * (DROP_TO if step >= DROP_AT * settings.steps else 1.0)
    done = (step - warmup) / max(settings.steps - warmup, 1)
    return settings.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0))))

"""Transfer: the weights of a trained network for one that finds other classes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from picker_training.detectors.base import Detector
from picker_training.detectors.layers import Residual


def take_over(
    trained: Detector, trained_classes: Sequence[str], fresh: Detector, classes: Sequence[str]
) -> dict[str, Tensor]:
    """Return weights for `fresh`: those of `trained`, class by class by name where an output stands for a class.

    Both have the same shape but for the number of classes and of residual blocks: classes that only `fresh` knows keep
    its own weights, and a block that only it has begins by adding nothing.
    """
    own, known = fresh.state_dict(), trained.state_dict()
    weights = {key: known.get(key, value) for key, value in own.items()}
    for name, module in fresh.named_modules():
        if isinstance(module, Residual) and f"{name}.{Residual.GAIN}" not in known:
            weights[f"{name}.{Residual.GAIN}"] = torch.zeros_like(own[f"{name}.{Residual.GAIN}"])
    names = {module: name for name, module in fresh.named_modules()}
    for module, first in fresh.class_rows():
        for key, value in module.state_dict().items():
            full = f"{names[module]}.{key}"
            if value.dim() > 0:  # BatchNorm counts its batches
                weights[full] = _rows(weights[full], trained_classes, own[full], classes, first)
    return weights


def _rows(old: Tensor, old_classes: Sequence[str], new: Tensor, classes: Sequence[str], first: int) -> Tensor:
    """Return the rows before and after the classes from `old`, those of the classes by name."""
    out = new.clone()
    out[:first] = old[:first]
    out[first + len(classes) :] = old[first + len(old_classes) :]
    for i, name in enumerate(classes):
        if name in old_classes:
            out[first + i] = old[first + old_classes.index(name)]
    return out

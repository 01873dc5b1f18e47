"""Checkpoints: the whole state of a run in one file, replaced atomically, so that a killed run goes on."""

import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from picker_runtime.atomic import atomic_writer
from picker_runtime.errors import UsageError

FILE = "checkpoint.pt"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """State after `step` optimiser steps: weights, their moving average, and the optimiser's own state."""

    step: int
    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    optimiser: dict[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint of a run; the one before stays until this one is complete."""
    with atomic_writer(folder / FILE, "wb") as file:
        torch.save(asdict(checkpoint), file)


def load_checkpoint(folder: Path, device: torch.device) -> Checkpoint | None:
    """Read the checkpoint of a run; None if it has not written one yet.

    Raises:
        UsageError: E83 if the file is not one of ours.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return Checkpoint(**torch.load(path, map_location=device, weights_only=True))
    except (RuntimeError, TypeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise UsageError(83, str(path), f"not a checkpoint of this version ({error})", "start a new run") from error

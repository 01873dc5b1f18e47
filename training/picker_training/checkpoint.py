"""Checkpoints: the whole state of a run, and the best of its averages, each one file that is replaced atomically."""

import io
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from picker_runtime.atomic import write_bytes
from picker_runtime.errors import UsageError

FILE, BEST_FILE = "checkpoint.pt", "best.pt"
State = TypeVar("State")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """State after `step` optimiser steps: weights, their moving average, and the optimiser's own state.

    Nothing else has to be kept: samples, the rate and random numbers are functions of the seed and the step.
    """

    step: int
    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    optimiser: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Best:
    """The moving average that was best at a validation, the step it is from, and what it reached there, 0 to 1."""

    step: int
    average: dict[str, Tensor]
    objective: float


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint of a run; the one before stays until this one is complete.

    Raises:
        OutputError: E71 if the disk is full, E70 if the file cannot be written for another reason.
    """
    _save(folder / FILE, asdict(checkpoint))


def has_checkpoint(folder: Path) -> bool:
    """Tell whether a run has written a checkpoint, and so has begun."""
    return (folder / FILE).exists()


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the checkpoint of a run into the host's memory; None if it has not written one yet.

    Raises:
        UsageError: E83 if the file is not one of ours.
    """
    return _load(folder / FILE, Checkpoint)


def save_best(folder: Path, best: Best) -> None:
    """Write the best average of a run.

    Raises:
        OutputError: as `save_checkpoint`.
    """
    _save(folder / BEST_FILE, asdict(best))


def load_best(folder: Path) -> Best | None:
    """Read the best average of a run; None before its first validation.

    Raises:
        UsageError: E83 if the file is not one of ours.
    """
    return _load(folder / BEST_FILE, Best)


def _save(path: Path, state: dict[str, Any]) -> None:
    buffer = io.BytesIO()  # written by PyTorch itself, a full disk would be an error of its own kind
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


def _load(path: Path, kind: type[State]) -> State | None:
    if not path.exists():
        return None
    try:
        return kind(**torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, TypeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise UsageError(83, str(path), f"not a checkpoint of this version ({error})", "start a new run") from error

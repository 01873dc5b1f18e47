"""The device that training and simulation run on, and what it can."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from picker_runtime.errors import EngineError
from picker_training.parallel import own_device


def choose_device(name: str, threads: int | None = None) -> torch.device:
    """Return the device of this name, of several GPUs that of this rank; `auto` is a GPU if there is one, else the CPU.

    threads: CPU threads of PyTorch; None leaves its own choice.

    Raises:
        EngineError: E60 if a GPU was asked for and there is none, or none for this rank.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise EngineError(60, name, "PyTorch sees no GPU here", "leave --device out, or use --device cpu")
    return own_device(torch.device(name))


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether a device computes in bfloat16: GPUs from Ampere on, and CPUs with AMX or AVX-512 BF16."""
    if device.type == "cuda":
        able: bool = torch.cuda.is_bf16_supported(including_emulation=False)
        return able
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def float32_convolutions() -> AbstractContextManager[object]:
    """Let convolutions on GPUs compute in float32, not in TF32 as cuDNN does by default."""
    flags: Any = torch.backends.cudnn
    kept: AbstractContextManager[object] = flags.flags(
        enabled=flags.enabled, benchmark=flags.benchmark, deterministic=flags.deterministic, allow_tf32=False
    )
    return kept


def half_precision(device: torch.device) -> AbstractContextManager[object]:
    """Let networks compute in bfloat16 where the device does, else in float32."""
    return torch.autocast(device.type, torch.bfloat16) if has_bfloat16(device) else nullcontext()

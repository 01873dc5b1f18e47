"""What a device can do at best: rates of matrix products and copies, measured, and the time a network takes at them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from picker_runtime.doctor import gemm_gflops
from picker_training.detectors.cost import cost_of

MEGABYTES = 256
REPEATS = 5
GEMM_EDGE = 8192


def cpu_ceilings(path: Path) -> dict[str, float]:
    """Return the processor's rates: GFLOP/s of float32, GB/s of a copy in memory (read and written) and of a file."""
    block = np.ones(MEGABYTES << 18, np.float32)
    other = np.empty_like(block)
    copying = best(lambda: np.copyto(other, block))
    buffer = bytearray(8 << 20)

    def read() -> None:
        with path.open("rb", buffering=0) as stream:
            while stream.readinto(buffer):
                pass

    return {
        "gemm_fp32_gflops": gemm_gflops(),
        "copy_gb_per_s": 2 * block.nbytes / copying / 1e9,
        "cached_file_gb_per_s": path.stat().st_size / best(read) / 1e9,
    }


def gpu_ceilings() -> dict[str, float]:
    """Return the GPU's rates by PyTorch: GFLOP/s of float16 and float32 products, GB/s of copies; {} without one."""
    if not torch.cuda.is_available():
        return {}
    rates: dict[str, float] = {}
    for name, dtype in (("fp16", torch.float16), ("fp32", torch.float32)):
        a = torch.randn(GEMM_EDGE, GEMM_EDGE, device="cuda", dtype=dtype)
        rates[f"gemm_{name}_gflops"] = 2 * GEMM_EDGE**3 / best(lambda a=a: a @ a, wait=torch.cuda.synchronize) / 1e9
    block = torch.ones(4 * MEGABYTES << 18, device="cuda")
    other = torch.empty_like(block)
    nbytes = block.numel() * block.element_size()
    rates["copy_gb_per_s"] = 2 * nbytes / best(lambda: other.copy_(block), wait=torch.cuda.synchronize) / 1e9
    pinned = torch.ones(MEGABYTES << 18).pin_memory()
    part = block[: pinned.numel()]
    upload = best(lambda: part.copy_(pinned, non_blocking=True), wait=torch.cuda.synchronize)
    rates["upload_gb_per_s"] = pinned.numel() * 4 / upload / 1e9
    return rates


def best(work: Callable[[], Any], *, wait: Callable[[], Any] = lambda: None, repeats: int = REPEATS) -> float:
    """Return the seconds of the fastest run, after one that is not counted."""
    seconds = []
    for _ in range(repeats + 1):
        wait()
        started = time.perf_counter()
        work()
        wait()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def roofline_seconds(network: nn.Module, voxels: int, rates: dict[str, float], precision: str) -> float | None:
    """Return the time at the measured rates for so many voxels of cubes, halos counted; None if a rate is missing.

    The larger of FLOP over the rate of products and of the bytes of activations over the rate of copies.
    """
    gemm, copying = rates.get(f"gemm_{precision}_gflops"), rates.get("copy_gb_per_s")
    if gemm is None or copying is None:
        return None
    cost = cost_of(network)
    flop = 2 * cost.mac_per_voxel * voxels
    nbytes = cost.values_per_voxel * voxels * (2 if precision == "fp16" else 4)
    return max(flop / gemm, nbytes / copying) / 1e9

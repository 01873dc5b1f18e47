"""Optional packages: import one or say which extra brings it."""

import importlib
from types import ModuleType

from picker_runtime.errors import UsageError

EXTRAS = {"picker-training": "training", "picker-export": "export"}
"""The extra that brings what a program needs beyond the base installation."""

CLEAR_ONNXRUNTIME = "pip uninstall -y onnxruntime onnxruntime-gpu"
"""Both: what is left of one after the other was taken away is of no use, but counts as installed."""


def require(module: str, *, extra: str | None = None) -> ModuleType:
    """Import an optional module; without an extra, one that the base installation brings.

    Raises:
        UsageError: E82, naming the pip line, if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _unusable(module, error, extra) from error


def missing_package(error: Exception, program: str) -> UsageError | None:
    """Return E82 if an error says that a package is not installed which a program's own extra brings, else None."""
    name = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or program not in EXTRAS or name.startswith("picker_"):
        return None
    return _unusable(name, error, EXTRAS[program])


def package(extra: str | None) -> str:
    """Return what pip calls an extra of ours, or without one the base installation."""
    return f"picker-cryoet[{extra}]" if extra else "picker-cryoet"


def _unusable(module: str, error: ImportError, extra: str | None) -> UsageError:
    return UsageError(82, module, f"not usable here ({error})", f"pip install '{package(extra)}'")

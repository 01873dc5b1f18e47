"""Optional packages: import one or say which extra brings it."""

import importlib
from types import ModuleType

from picker_runtime.errors import UsageError


def require(module: str, *, extra: str | None = None) -> ModuleType:
    """Import an optional module; without an extra, one that the base installation brings.

    Raises:
        UsageError: E82, naming the pip line, if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = f"picker-cryoet[{extra}]" if extra else "picker-cryoet"
        raise UsageError(82, module, f"not usable here ({error})", f"pip install '{package}'") from error

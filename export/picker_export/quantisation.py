"""Quantisation: the same graph with its convolutions in int8, for OpenVINO on the CPU.

Their scales come from what cubes of training data put through them. Normalisation, the last convolutions and decoding
stay float32: in int8 a score would have 256 values, and a peak none above its neighbours.
"""

import contextlib
import io
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picker_runtime.engines.openvino import import_openvino, import_without_telemetry

CONVOLUTIONS = {"Convolution", "ConvolutionBackpropData"}
NO_OPERATIONS = {"Parameter", "Constant", "Result"}


def write_int8(graph: Path, cubes: Iterable[NDArray[np.float32]], path: Path) -> int:
    """Write the int8 graph of a float32 one to `path` and a `.bin` beside it; return how many cubes it was scaled by.

    cubes: each `(1, 1, d, h, w) float32`, normalised.

    Raises:
        EngineError: E60 if nncf, which does it, is not installed.
    """
    openvino = import_openvino()
    nncf = import_without_telemetry("nncf", extra="export")
    nncf.set_log_level(logging.ERROR)
    model = openvino.Core().read_model(graph)
    items = [_inputs(cube) for cube in cubes]
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars
        quantised = nncf.quantize(
            model,
            nncf.Dataset(items),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(items),
            ignored_scope=nncf.IgnoredScope(names=kept_in_float32(model), validate=False),
        )
    if quantised.has_rt_info("nncf"):
        quantised.set_rt_info("", "nncf")  # a list of all that was kept
    openvino.save_model(quantised, path, compress_to_fp16=False)
    return len(items)


def kept_in_float32(model: Any) -> list[str]:
    """Return the names of the operations before the first convolutions, and from the last ones on."""
    operations = model.get_ordered_ops()
    after, before = set[str](), set[str]()
    for operation in operations:
        sources = [value.get_source_output().get_node() for value in operation.inputs()]
        if any(_is_convolution(one) or one.get_friendly_name() in after for one in sources):
            after.add(operation.get_friendly_name())
    for operation in reversed(operations):
        targets = [value.get_node() for output in operation.outputs() for value in output.get_target_inputs()]
        if any(_is_convolution(one) or one.get_friendly_name() in before for one in targets):
            before.add(operation.get_friendly_name())
    names = [one.get_friendly_name() for one in operations if one.get_type_name() not in NO_OPERATIONS]
    inner = {one.get_friendly_name() for one in operations if _is_convolution(one)} | after
    return [name for name in names if name not in inner or name not in before]


def _is_convolution(operation: Any) -> bool:
    return operation.get_type_name() in CONVOLUTIONS


def _inputs(cube: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    return {"cubes": cube, "mean": np.zeros(1, np.float32), "inverse_std": np.ones(1, np.float32)}

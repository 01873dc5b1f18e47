"""A hand-made model that finds gaussian blobs exactly: the full graph contract with a receptive field of a few voxels.

It smooths with [1 2 1] / 4 along each axis, which cancels values that alternate from voxel to voxel, and interpolates
log intensity at a 3x3x3 peak with a parabola, which is exact for a gaussian. `volume_with_blobs` makes volumes that
suit it: an alternating background of median 0 and scale 1, and blobs that stay below the clipping at 5.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from picker_runtime.bundle import write_card
from picker_runtime.card import ModelCard, ParticleClass

SIGMA = 1.5
CLASSES = (("small", 50.0), ("large", 80.0))  # name, diameter in angstrom
SMALL, LARGE = 1.75, 3.5  # amplitudes of the two classes, in units of the background's scale
FLOOR, THRESHOLD = 0.05, 0.2
VOXEL_SIZE = 10.0
HALO, ALIGNMENT = 8, 4
BACKGROUND = 2 / 1.4826  # greatest of amplitudes, evenly spread from 0, whose median stands for a scale of 1


def blob_graph(path: Path, *, stride: int = 2, max_candidates: int = 64, dark: bool = False) -> Path:
    """Write the golden graph; `dark` makes it find blobs below the background."""
    nodes = [*_smoothed(stride), *_offsets(), *_peaks(), *_top(), *_centers()]
    graph = helper.make_graph(
        nodes, "blobs", _inputs(), _outputs(max_candidates), _constants(stride, dark, max_candidates)
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    return path


def golden_bundle(
    folder: Path,
    *,
    stride: int = 2,
    max_candidates: int = 64,
    dark: bool = False,
    tile: tuple[int, int, int] = (64, 64, 64),
    voxel_size: float = VOXEL_SIZE,
) -> Path:
    """Write a complete bundle around the golden graph and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    blob_graph(folder / "model.onnx", stride=stride, max_candidates=max_candidates, dark=dark)
    classes = tuple(
        ParticleClass(name=name, diameter_angstrom=diameter, threshold=THRESHOLD, colour=colour)
        for (name, diameter), colour in zip(CLASSES, ("#3366cc", "#cc6633"), strict=True)
    )
    card = ModelCard(
        name="golden", version="1", licence="Apache-2.0", classes=classes, voxel_size_angstrom=voxel_size,
        polarity="dark" if dark else "bright", output_stride=stride, alignment=ALIGNMENT, halo=HALO, margin=ALIGNMENT,
        halo_curve={str(HALO): 1.0}, tile=tile, max_candidates=max_candidates, candidate_floor=FLOOR,
        nms_fraction=0.5, statistics="median-mad-v1", files={},
    )  # fmt: skip
    write_card(folder, card)
    return folder


def add_int8(folder: Path) -> Path:
    """Give a bundle a second graph, for OpenVINO, in the place of the int8 one; return its path."""
    from picker_runtime.engines.openvino import import_openvino

    openvino = import_openvino()
    path = folder / "model.int8.xml"
    openvino.save_model(openvino.Core().read_model(folder / "model.onnx"), path, compress_to_fp16=False)
    write_card(folder, ModelCard.from_json((folder / "card.json").read_text(), subject="card.json"))
    return path


def volume_with_blobs(
    shape: tuple[int, int, int],
    positions: Sequence[tuple[float, float, float]] | NDArray[np.float64],
    amplitudes: Sequence[float] | NDArray[np.float64] | float = LARGE,
    *,
    dark: bool = False,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Return a volume `(z, y, x) float32` with a gaussian blob at each position `(n, 3) zyx, voxels`."""
    rng = np.random.default_rng(seed)
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    amplitude_of_x = BACKGROUND * (rng.permutation(shape[2]) + 0.5) / shape[2]
    volume = np.where(sum(grid) % 2, amplitude_of_x, -amplitude_of_x) + rng.normal(0, 1e-3, shape)
    for position, amplitude in zip(positions, np.broadcast_to(amplitudes, len(positions)), strict=True):
        window = tuple(slice(max(0, int(p) - 9), int(p) + 11) for p in position)
        near = np.ix_(*(np.arange(n)[part] - p for n, part, p in zip(shape, window, position, strict=True)))
        volume[window] += amplitude * np.exp(-sum(d**2 for d in near) / (2 * SIGMA**2)) * (-1 if dark else 1)
    return volume.astype(np.float32)


def scattered(
    shape: tuple[int, int, int], *, count: int, apart: float, margin: float = 0.0, seed: int = 0
) -> NDArray[np.float64]:
    """Return at most `count` positions `(n, 3) zyx, voxels` at least `apart` from each other and `margin` inside."""
    rng = np.random.default_rng(seed)
    high = np.asarray(shape) - 1 - margin
    chosen: list[NDArray[np.float64]] = []
    for position in rng.uniform(margin, high, (20 * count, 3)):
        if len(chosen) < count and all(np.linalg.norm(position - other) >= apart for other in chosen):
            chosen.append(position)
    return np.array(chosen)


def _inputs() -> list[onnx.ValueInfoProto]:
    def value(name: str, shape: list[str | int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    return [value("cubes", ["N", 1, "D", "H", "W"]), value("mean", ["N"]), value("inverse_std", ["N"])]


def _outputs(k: int) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info("centers", TensorProto.FLOAT, ["N", k, 3]),
        helper.make_tensor_value_info("diameters", TensorProto.FLOAT, ["N", k]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", k]),
        helper.make_tensor_value_info("class_ids", TensorProto.INT32, ["N", k]),
    ]


def _constants(stride: int, dark: bool, k: int) -> list[onnx.TensorProto]:
    smooth = np.array([1, 2, 1]) / 4
    shifts = np.zeros((6, 1, 3, 3, 3))  # slopes along z, y, x, then curvatures, of a parabola through three points
    for axis in range(3):
        low, high = [1, 1, 1], [1, 1, 1]
        low[axis], high[axis] = 0, 2
        shifts[axis, 0][tuple(high)], shifts[axis, 0][tuple(low)] = 0.5, -0.5
        shifts[3 + axis, 0][tuple(high)] = shifts[3 + axis, 0][tuple(low)] = -1
        shifts[3 + axis, 0, 1, 1, 1] = 2
    faded = (SIGMA**2 / (SIGMA**2 + 0.5)) ** 1.5  # what the smoothing, of variance 0.5, leaves of a blob's height
    sign = -1 if dark else 1
    values: dict[str, Any] = {
        "smoothing": np.float32(sign * np.einsum("i,j,k->ijk", smooth, smooth, smooth)[None, None]),
        "shifts": np.float32(shifts),
        "low": np.float32(-5), "high": np.float32(5), "tiny": np.float32(1e-3),
        "level": np.float32(0.3), "half": np.float32(0.5), "zero": np.float32(0),
        "one": np.float32(1), "minus_one": np.float32(-1), "full_height": np.float32(5 * faded),
        "class_border": np.float32((SMALL + LARGE) / 2 / 5), "stride": np.float32(stride),
        "small_diameter": np.float32(CLASSES[0][1] / VOXEL_SIZE),
        "large_diameter": np.float32(CLASSES[1][1] / VOXEL_SIZE),
        "column": np.array([-1, 1, 1, 1, 1]), "flat": np.array([0, -1]), "flat3": np.array([0, 3, -1]),
        "k": np.array([k]), "k3": np.array([1, 3, 1]), "axis1": np.array([1]),
        "cells_y": np.array(3), "cells_x": np.array(4),
    }  # fmt: skip
    return [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]


def _node(operation: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operation, inputs.split(), outputs.split(), **attributes)


def _smoothed(stride: int) -> list[onnx.NodeProto]:
    return [
        _node("Reshape", "mean column", "mean5"),
        _node("Reshape", "inverse_std column", "inverse5"),
        _node("Sub", "cubes mean5", "centred"),
        _node("Mul", "centred inverse5", "scaled"),
        _node("Clip", "scaled low high", "clipped"),
        _node("Conv", "clipped smoothing", "smooth", strides=[stride] * 3, pads=[1] * 6),
    ]


def _offsets() -> list[onnx.NodeProto]:
    return [
        _node("Max", "smooth tiny", "positive"),
        _node("Log", "positive", "log"),
        _node("Conv", "log shifts", "parabola", pads=[1] * 6),
        _node("Split", "parabola", "slopes curvatures", axis=1, num_outputs=2),
        _node("Max", "curvatures tiny", "bent"),
        _node("Div", "slopes bent", "raw_offsets"),
        _node("Clip", "raw_offsets minus_one one", "offsets"),
        _node("Reshape", "offsets flat3", "flat_offsets"),
    ]


def _peaks() -> list[onnx.NodeProto]:
    """The score is the height of the parabola's top, as part of the clipping limit."""
    return [
        _node("MaxPool", "smooth", "highest", kernel_shape=[3] * 3, pads=[1] * 6),
        _node("GreaterOrEqual", "smooth highest", "is_highest"),
        _node("Greater", "smooth level", "is_high"),
        _node("And", "is_highest is_high", "is_peak"),
        _node("Mul", "slopes raw_offsets", "rises"),
        _node("ReduceSum", "rises axis1", "rise", keepdims=1),
        _node("Mul", "rise half", "half_rise"),
        _node("Add", "log half_rise", "log_top"),
        _node("Exp", "log_top", "top"),
        _node("Div", "top full_height", "height"),
        _node("Clip", "height zero one", "probability"),
        _node("Where", "is_peak probability zero", "grid_scores"),
        _node("Reshape", "grid_scores flat", "flat_scores"),
    ]


def _top() -> list[onnx.NodeProto]:
    return [
        _node("TopK", "flat_scores k", "scores indices", axis=1, largest=1, sorted=1),
        _node("Greater", "scores class_border", "is_large"),
        _node("Cast", "is_large", "class_ids", to=TensorProto.INT32),
        _node("Where", "is_large large_diameter small_diameter", "diameters"),
    ]


def _centers() -> list[onnx.NodeProto]:
    """Cell (z, y, x) sits at voxel `stride` times that; the offset, in cells, is added first."""
    return [
        _node("Shape", "smooth", "sizes"),
        _node("Gather", "sizes cells_y", "ny"),
        _node("Gather", "sizes cells_x", "nx"),
        _node("Div", "indices nx", "rows"),
        _node("Mod", "indices nx", "x"),
        _node("Div", "rows ny", "z"),
        _node("Mod", "rows ny", "y"),
        *(_node("Unsqueeze", f"{axis} axis1", f"{axis}1") for axis in "zyx"),
        _node("Concat", "z1 y1 x1", "cells", axis=1),
        _node("Cast", "cells", "cells_float", to=TensorProto.FLOAT),
        _node("Unsqueeze", "indices axis1", "indices1"),
        _node("Tile", "indices1 k3", "indices3"),
        _node("GatherElements", "flat_offsets indices3", "chosen", axis=2),
        _node("Add", "cells_float chosen", "positions"),
        _node("Mul", "positions stride", "centers_first"),
        _node("Transpose", "centers_first", "centers", perm=[0, 2, 1]),
    ]

"""Half precision: the same graph with float16 convolutions, since strongly typed engines compute what is written.

Float16 are the convolutions but the last ones, and what lies between them. Normalisation and clipping come before,
logits and decoding after them, and both stay float32: a float16 logit makes plateaus that pass the peak test together.
"""

import itertools
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from picker_runtime.errors import EngineError

CONVOLUTIONS = {"Conv", "ConvTranspose"}
MOVING = {"Reshape", "Transpose", "SpaceToDepth", "Squeeze", "Unsqueeze", "Identity"}
"""Operators that only move values, and so may take float16 as soon as whatever follows does."""
BETWEEN = MOVING | {"LeakyRelu", "Relu", "Add", "Mul", "Concat", "MaxPool", "AveragePool", "Resize", "Slice", "Pad"}
"""Operators that may compute in float16 between two convolutions; any other stays float32 there."""
ALWAYS_FLOAT32 = {"Resize": (1, 2)}
"""Inputs by position whose type does not follow the values': a Resize's region and scales."""


def half_graph(graph: Path) -> bytes:
    """Return the bytes of a float32 graph's file with its convolutions in float16.

    Raises:
        EngineError: E62 if it cannot be converted.
    """
    try:
        converted: bytes = to_half(onnx.load(graph)).SerializeToString()
    except ValueError as error:
        raise EngineError(62, graph.name, f"cannot be float16: {error}", "use --precision fp32") from error
    return converted


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a float32 graph with float16 convolutions; inputs, outputs, normalisation and decoding stay float32.

    BatchNorm has to be folded before: as a node of its own it stays float32 and splits its neighbours.

    Raises:
        ValueError: if there is nothing to convert, or a weight is too large for float16.
    """
    inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    half = _half_nodes(inferred.graph, _float_values(inferred.graph))
    if not half:
        raise ValueError("no convolution feeds another: nothing to convert to float16")
    result = onnx.ModelProto()
    result.CopyFrom(model)
    _Converter(result.graph, half, _float_values(inferred.graph)).convert()
    del result.graph.value_info[:]  # types of before
    result = shape_inference.infer_shapes(result, check_type=True, strict_mode=True)
    onnx.checker.check_model(result, full_check=True)
    return result


def _half_nodes(graph: onnx.GraphProto, floats: set[str]) -> set[int]:
    """Return the positions of the nodes that become float16; a graph's nodes stand in the order of computation."""
    after, before = set[str](), set[str]()  # values with a convolution before them, or after them
    follows, leads = set[int](), set[int]()
    for i, node in enumerate(graph.node):
        if node.op_type in CONVOLUTIONS or after & set(node.input):
            follows.add(i)
            after |= set(node.output) & floats
    for i, node in reversed(list(enumerate(graph.node))):
        if before & set(node.output):
            leads.add(i)
        if node.op_type in CONVOLUTIONS or i in leads:
            before |= set(node.input) & floats
    half = {i for i in follows & leads if graph.node[i].op_type in CONVOLUTIONS | BETWEEN}
    for i, node in reversed(list(enumerate(graph.node))):  # what only moves values before the first convolution
        if i in leads and node.op_type in MOVING and _readers(graph, node.output[0]) <= half:
            half.add(i)
    return half


def _readers(graph: onnx.GraphProto, name: str) -> set[int]:
    return {i for i, node in enumerate(graph.node) if name in node.input}


def _float_values(graph: onnx.GraphProto) -> set[str]:
    values = itertools.chain(graph.value_info, graph.input, graph.output)
    names = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return names | {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}


class _Converter:
    """Rewrites a graph in place: float16 nodes, casts at the borders, each value cast once."""

    def __init__(self, graph: onnx.GraphProto, half: set[int], floats: set[str]) -> None:
        self._graph, self._half, self._floats = graph, half, floats
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._made = {name for i in half for name in graph.node[i].output} & floats
        self._casts: dict[tuple[str, int], str] = {}
        self._nodes: list[onnx.NodeProto] = []

    def convert(self) -> None:
        """Replace the graph's nodes and weights."""
        for i, node in enumerate(self._graph.node):
            changed = onnx.NodeProto()
            changed.CopyFrom(node)
            for position, name in enumerate(node.input):
                changed.input[position] = self._operand(name, node, position, half=i in self._half)
            self._nodes.append(changed)
        for value in self._graph.output:
            if value.name in self._made:
                raise ValueError(f"output {value.name} would be float16")
        used = {name for node in self._nodes for name in node.input}
        kept = [tensor for tensor in self._weights.values() if tensor.name in used]
        del self._graph.node[:], self._graph.initializer[:]
        self._graph.node.extend(self._nodes)
        self._graph.initializer.extend(kept)

    def _operand(self, name: str, node: onnx.NodeProto, position: int, *, half: bool) -> str:
        """Return the value to read in place of this one, of the type that the node computes in."""
        if name not in self._floats or position in ALWAYS_FLOAT32.get(node.op_type, ()):
            return name
        if half and name in self._weights:
            return self._half_weight(name)
        if half == (name in self._made):
            return name
        return self._cast(name, TensorProto.FLOAT16 if half else TensorProto.FLOAT)

    def _half_weight(self, name: str) -> str:
        renamed = f"{name}.half"
        if renamed not in self._weights:
            values = numpy_helper.to_array(self._weights[name])
            if np.abs(values).max(initial=0.0) > np.finfo(np.float16).max:
                raise ValueError(f"{name} holds values that float16 cannot")
            self._weights[renamed] = numpy_helper.from_array(values.astype(np.float16), renamed)
        return renamed

    def _cast(self, name: str, to: int) -> str:
        if (name, to) not in self._casts:
            renamed = f"{name}.{'half' if to == TensorProto.FLOAT16 else 'float'}"
            self._nodes.append(helper.make_node("Cast", [name], [renamed], name=f"cast_{renamed}", to=to))
            self._casts[name, to] = renamed
        return self._casts[name, to]

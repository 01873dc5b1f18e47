"""Is an ONNX graph self-contained and made of standard operators? Asked of its bytes, before any library parses it.

A minimal walk over the protobuf wire format, field numbers from `onnx.proto`. A graph could otherwise name files to
read (external data), load native code (custom operators, `EPContext` blobs) or hide either in functions.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from picker_runtime.errors import ModelError

STANDARD_DOMAINS = (b"", b"ai.onnx")
MAX_DEPTH = 32
"""Messages inside messages; a real graph needs about six."""
GRAPH_FIELD = 7
MAX_TAG_BYTES, MAX_VARINT_BYTES = 5, 10
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class _RefusedError(ValueError):
    """Why a graph is not accepted."""


def check_graph(path: Path) -> None:
    """Check that a graph reads nothing but itself and runs nothing but standard operators.

    Raises:
        ModelError: E53 for external data, an operator domain that is not ONNX's own, an `EPContext` node, functions,
            training information, or bytes that are not a model; E52 if the file cannot be read.
    """
    subject = f"{path.parent.name}/{path.name}"
    try:
        model = memoryview(path.read_bytes())
        _walk(model, "model", 0)
        if all(number != GRAPH_FIELD for number, _ in _fields(model)):
            raise _RefusedError("not an ONNX model (no graph in it)")
    except OSError as error:
        raise ModelError(52, subject, f"cannot be read ({error.strerror})", "install the model again") from error
    except _RefusedError as error:
        raise ModelError(53, subject, str(error), "use a self-contained graph of standard operators") from error


def _walk(message: memoryview, kind: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _RefusedError("messages nested too deeply")
    rules, children = RULES.get(kind, {}), CHILDREN.get(kind, {})
    for number, value in _fields(message):
        if number in rules:
            rules[number](value)
        if number in children and isinstance(value, memoryview):
            _walk(value, children[number], depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value) of one message; fixed-width numbers come as their bytes."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position, MAX_TAG_BYTES)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, position = _varint(message, position, MAX_VARINT_BYTES)
            yield number, value
            continue
        if wire == BYTES:
            size, position = _varint(message, position, MAX_VARINT_BYTES)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise _RefusedError("not an ONNX model (unknown wire type)")
        if size > len(message) - position:
            raise _RefusedError("not an ONNX model (a field reaches past the end)")
        yield number, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int, longest: int) -> tuple[int, int]:
    value = 0
    for count, byte in enumerate(message[position : position + longest]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, position + count + 1
    raise _RefusedError("not an ONNX model (a number does not end)")


def _standard_domain(value: int | memoryview) -> None:
    if isinstance(value, int) or bytes(value) not in STANDARD_DOMAINS:
        raise _RefusedError(f"operator domain {_shown(value)}, expected ONNX's own")


def _no_context(value: int | memoryview) -> None:
    if not isinstance(value, int) and bytes(value) == b"EPContext":
        raise _RefusedError("an EPContext node, which embeds compiled code")


def _no_location(value: int | memoryview) -> None:
    if value != 0:
        raise _RefusedError("a tensor with external data")


def _never(what: str) -> Callable[[int | memoryview], None]:
    def refuse(value: int | memoryview) -> None:
        raise _RefusedError(what)

    return refuse


def _shown(value: int | memoryview) -> str:
    return repr(value if isinstance(value, int) else bytes(value[:40]).decode("utf-8", "replace"))


CHILDREN: dict[str, dict[int, str]] = {
    "model": {GRAPH_FIELD: "graph", 8: "operator set"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
}
"""Which fields hold which messages."""

RULES: dict[str, dict[int, Callable[[int | memoryview], None]]] = {
    "model": {20: _never("training information"), 25: _never("functions")},
    "operator set": {1: _standard_domain},
    "node": {4: _no_context, 7: _standard_domain},
    "tensor": {13: _never("a tensor with external data"), 14: _no_location},
}
"""What is refused in which field."""

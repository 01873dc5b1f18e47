"""Is an OpenVINO graph (IR: a text of layers, a file of their constants) made of standard operations, and whole?

Asked of its text before OpenVINO parses it. A graph could otherwise name operations of a library's own, or constants
that lie outside its file.
"""

import re
from pathlib import Path
from xml.etree import ElementTree

from picker_runtime.errors import ModelError

STANDARD = re.compile(r"opset[1-9][0-9]?")
MAX_BYTES = 8_000_000
CONSTANTS = ".bin"
"""Suffix of the file beside the text."""


class _RefusedError(ValueError):
    """Why a graph is not accepted."""


def check_ir(path: Path) -> None:
    """Check that a graph has standard operations only, and that every constant lies in the file beside it.

    Raises:
        ModelError: E53 for another operation set, a document type, a constant out of bounds, or text that is no graph;
            E52 if a file cannot be read.
    """
    subject = f"{path.parent.name}/{path.name}"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _RefusedError(f"{path.stat().st_size} bytes of text, at most {MAX_BYTES} are read")
        _check(path.read_bytes(), path.with_suffix(CONSTANTS).stat().st_size)
    except OSError as error:
        raise ModelError(52, subject, f"cannot be read ({error.strerror})", "install the model again") from error
    except _RefusedError as error:
        raise ModelError(53, subject, str(error), "use a graph that picker-export wrote") from error


def _check(text: bytes, constants: int) -> None:
    if b"<!" in text.replace(b"<!--", b""):
        raise _RefusedError("a document type, which no graph has")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise _RefusedError(f"not an OpenVINO graph ({error})") from error
    layers = list(root.iter("layer"))
    if root.tag != "net" or not layers:
        raise _RefusedError("not an OpenVINO graph (no layers in it)")
    for layer in layers:
        _check_layer(layer, constants)


def _check_layer(layer: ElementTree.Element, constants: int) -> None:
    operations = layer.get("version", "")
    if not STANDARD.fullmatch(operations):
        raise _RefusedError(f"operation set {operations[:40]!r}, expected OpenVINO's own")
    if layer.get("type") != "Const":
        return
    data = layer.find("data")
    numbers = [] if data is None else [data.get("offset", ""), data.get("size", "")]
    if not numbers or not all(number.isascii() and number.isdecimal() for number in numbers):
        raise _RefusedError("a constant without a place")
    if sum(map(int, numbers)) > constants:
        raise _RefusedError(f"a constant that reaches past the {constants} bytes of its file")

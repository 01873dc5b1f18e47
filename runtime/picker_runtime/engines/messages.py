"""Messages between a command and its engine's process: JSON, arrays and open files over a pair of sockets.

A message is a header (two sizes), its fields as JSON, and the bytes of its arrays one after another. An open file
travels with the header, as sockets of one machine pass them.
"""

import json
import math
import socket
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER = struct.Struct("<QQ")


class ChannelClosed(Exception):  # noqa: N818  what happened, not a mistake
    """The other end is gone."""


class ChannelSilent(Exception):  # noqa: N818
    """The other end said nothing for too long."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """What one end tells the other; `descriptor` is the receiver's own, to be closed by it."""

    kind: str
    fields: dict[str, Any]
    arrays: tuple[NDArray[Any], ...] = ()
    descriptor: int | None = None


class Channel:
    """One end of a pair of connected sockets; any thread may send, one receives."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._sending = threading.Lock()

    def send(
        self, kind: str, *, arrays: Sequence[NDArray[Any]] = (), descriptor: int | None = None, **fields: Any
    ) -> None:
        """Send a message; an open file stays the sender's too.

        Raises:
            ChannelClosed: if nobody is there any more. ChannelSilent: if nobody takes it.
        """
        forms = [(array.dtype.str, array.shape) for array in arrays]
        text = json.dumps({"kind": kind, "fields": fields, "arrays": forms}).encode()
        blob = b"".join(array.tobytes() for array in arrays)
        header = HEADER.pack(len(text), len(blob))
        try:
            with self._sending:
                if descriptor is None:
                    self._socket.sendall(header + text + blob)
                else:
                    sent = socket.send_fds(self._socket, [header], [descriptor])
                    self._socket.sendall(header[sent:] + text + blob)
        except TimeoutError as error:
            raise ChannelSilent from error
        except OSError as error:
            raise ChannelClosed from error

    def receive(self, *, patience: float | None = None) -> Message:
        """Return the next message, waiting at most `patience` seconds for each part of it.

        Raises:
            ChannelClosed: if the other end is gone. ChannelSilent: if it says nothing for so long.
        """
        try:
            self._socket.settimeout(patience)
            flags = socket.MSG_CMSG_CLOEXEC
            start, descriptors, _, _ = socket.recv_fds(self._socket, HEADER.size, 1, flags)
            if not start:
                raise ChannelClosed
            text_bytes, blob_bytes = HEADER.unpack(start + self._exactly(HEADER.size - len(start)))
            head = json.loads(self._exactly(text_bytes))
            blob = self._exactly(blob_bytes)
        except TimeoutError as error:
            raise ChannelSilent from error
        except OSError as error:
            raise ChannelClosed from error
        return Message(
            kind=head["kind"],
            fields=head["fields"],
            arrays=_arrays(head["arrays"], blob),
            descriptor=descriptors[0] if descriptors else None,
        )

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _exactly(self, count: int) -> bytes:
        content = bytearray()
        while len(content) < count:
            part = self._socket.recv(count - len(content))
            if not part:
                raise ChannelClosed
            content += part
        return bytes(content)


def _arrays(forms: list[tuple[str, list[int]]], blob: bytes) -> tuple[NDArray[Any], ...]:
    arrays, at = [], 0
    for dtype, shape in forms:
        count = math.prod(shape)
        arrays.append(np.frombuffer(blob, dtype, count, at).reshape(shape))
        at += count * np.dtype(dtype).itemsize
    return tuple(arrays)

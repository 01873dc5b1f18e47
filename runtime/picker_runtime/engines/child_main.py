"""What the process of a `child.ChildEngine` runs: one engine, asked over a channel; it ends when its parent does."""

import importlib
import os
import queue
import socket
import sys
import threading
import time
from typing import Any

import numpy as np

from picker_runtime.engines.base import Engine, Prefetching, Source, TileTooLarge, take_warnings
from picker_runtime.engines.messages import Channel, ChannelClosed, Message
from picker_runtime.errors import PickerError
from picker_runtime.file_voxels import FileVoxels
from picker_runtime.geometry import Box
from picker_runtime.intensity import Intensity, NormalisedSource
from picker_runtime.tiling import Tile
from picker_runtime.tomogram import Tomogram

BEAT_SECONDS = 0.2
"""Signs of progress are passed on at most this often."""

Inbox = queue.SimpleQueue[Message]


class GivenVoxels(FileVoxels):
    """The voxels that the parent sent an open file of; it checks itself whether the file changes."""

    @classmethod
    def of(cls, message: Message) -> "GivenVoxels":
        """Return those that a message describes; close them in the end."""
        fields = message.fields
        depth, height, width = fields["shape"]
        return cls(
            -1 if message.descriptor is None else message.descriptor,
            offset=fields["offset"],
            shape=(depth, height, width),
            dtype=np.dtype(fields["dtype"]),
            name=fields["name"],
        )

    def raw(self) -> FileVoxels:
        """Return these."""
        return self

    def check_unchanged(self) -> None:
        """Leave that to the parent."""


def main(descriptor: int) -> None:
    """Open an engine as the first message says and answer all others."""
    channel = Channel(socket.socket(fileno=descriptor))
    inbox: Inbox = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(channel, inbox), daemon=True).start()
    opening = inbox.get().fields
    try:
        module, _, function = opening["factory"].partition(":")
        engine: Engine = getattr(importlib.import_module(module), function)(**opening["arguments"], say=_beats(channel))
        with engine:
            channel.send("ready")
            while (message := inbox.get()).kind != "close":
                _serve(engine, message, channel, inbox)
    except Exception as error:
        _report(channel, error, [])


def _serve(engine: Engine, message: Message, channel: Channel, inbox: Inbox) -> None:
    """Do what one message asks for."""
    voxels = GivenVoxels.of(message)
    try:
        if message.kind == "prefetch":
            if isinstance(engine, Prefetching):
                engine.prefetch(voxels)
            return
        cubes = [Box(tuple(start), tuple(stop)) for start, stop in message.fields["cubes"]]
        tiles = [Tile(core=cube, cube=cube, owned=cube) for cube in cubes]
        for _, found in engine.stream(_source(voxels, message.fields), tiles):
            channel.send("found", arrays=[found.centers, found.diameters, found.scores, found.class_ids])
            _announcements(engine, channel, inbox)
        channel.send("done", warnings=take_warnings(engine))
    except ChannelClosed:
        raise
    except Exception as error:
        _report(channel, error, list(take_warnings(engine)))
    finally:
        voxels.close()


def _announcements(engine: Engine, channel: Channel, inbox: Inbox) -> None:
    """Pass on, amid a stream, which tomogram comes next."""
    while not inbox.empty():
        message = inbox.get()
        if message.kind != "prefetch":
            inbox.put(message)
            return
        _serve(engine, message, channel, inbox)


def _source(voxels: GivenVoxels, fields: dict[str, Any]) -> Source:
    tomogram = Tomogram(voxels, name=voxels.name, shape=voxels.shape, voxel_size=1.0)
    intensity = Intensity(center=fields["mean"], scale=1.0, non_finite_fraction=0.0, fill=None)
    source = NormalisedSource(tomogram, intensity)
    source.inverse_std = fields["inverse_std"]
    return source


def _report(channel: Channel, error: Exception, warnings: list[str]) -> None:
    if isinstance(error, TileTooLarge):
        channel.send("too large", shape=error.shape, warnings=warnings)
    elif isinstance(error, PickerError):
        texts = {name: getattr(error, name) for name in ("code", "subject", "problem", "fix")}
        channel.send("error", error=type(error).__name__, **texts, warnings=warnings)
    else:
        channel.send("bug", problem=f"{type(error).__name__}: {error}", warnings=warnings)


def _receive(channel: Channel, inbox: Inbox) -> None:
    """Queue what comes; end the process, whatever it is doing, when the parent is gone."""
    try:
        while True:
            inbox.put(channel.receive())
    except ChannelClosed:
        os._exit(0)


def _beats(channel: Channel) -> Any:
    """Return the function that passes lines on, and empty ones, which only show progress, once in a while."""
    last = 0.0

    def say(line: str) -> None:
        nonlocal last
        if line or time.monotonic() - last > BEAT_SECONDS:
            last = time.monotonic()
            channel.send("say", line=line)

    return say


if __name__ == "__main__":
    main(int(sys.argv[1]))

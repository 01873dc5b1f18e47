"""Rigs: a network with the slots that feed it, one for each shape of cubes, a few kept ready."""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack

from picker_runtime.engines.cutting import CuttingDevice
from picker_runtime.engines.device import Device, Network, Shape
from picker_runtime.engines.slots import Slot

SLOTS = 2
"""While the device works on one batch, the next is enqueued."""

KEPT = 2
"""Shapes of cubes kept ready: a plan's, and one other (halves of crowded tiles)."""

Say = Callable[[str], None]
OpenNetwork = Callable[[Shape, Device, Say], Network]
"""Gives the network for cubes `(N, 1, D, H, W)` on a device, saying what takes long."""


class Rig:
    """A network with the slots that feed it, for cubes of one shape `(N, 1, D, H, W)`.

    Raises:
        DeviceMemoryError: if there is no room for it.
    """

    def __init__(self, device: CuttingDevice, network: Network, cubes: Shape) -> None:
        self.batch = cubes[0]
        self.slots: list[Slot] = []
        with ExitStack() as undo:
            undo.callback(network.close)
            for _ in range(SLOTS):
                slot = Slot(device, network, cubes)
                undo.callback(slot.close)
                self.slots.append(slot)
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Free slots and network; nothing is in flight."""
        self._undo.close()


class Rigs:
    """The rigs used last on a device; free them with `close`."""

    def __init__(self, device: CuttingDevice, open_network: OpenNetwork, say: Say) -> None:
        self._device, self._open_network, self._say = device, open_network, say
        self._rigs: OrderedDict[Shape, Rig] = OrderedDict()
        self.notes: list[str] = []

    def get(self, cubes: Shape) -> Rig:
        """Return the rig for this shape of `cubes`; what a new network has to say is added to `notes`.

        Raises:
            DeviceMemoryError: if there is no room for it. EngineError, ModelError: as opening the network does.
        """
        if cubes not in self._rigs:
            while len(self._rigs) >= KEPT:
                self._rigs.popitem(last=False)[1].close()
            network = self._open_network(cubes, self._device, self._say)
            note = network.note
            self._rigs[cubes] = Rig(self._device, network, cubes)
            self.notes += [note] if note else []
        self._rigs.move_to_end(cubes)
        return self._rigs[cubes]

    def drop_others(self, cubes: Shape) -> bool:
        """Free the rigs for other shapes; tell whether there were any."""
        others = [shape for shape in self._rigs if shape != cubes]
        for shape in others:
            self._rigs.pop(shape).close()
        return bool(others)

    def close(self) -> None:
        """Free all; nothing is in flight."""
        while self._rigs:
            self._rigs.popitem()[1].close()

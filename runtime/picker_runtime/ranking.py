"""Ranking: the value at a place in ascending order, and the place of a value, without sorting them all.

Values are counted by the first 16 bits of their float32 (sign, exponent, 7 bits of fraction), which order them
coarsely; only the few bins that somebody asks for are gathered and sorted. Answers are those that the sorted values
would give.
"""

import numpy as np
from numpy.typing import NDArray

BINS = 1 << 16
CHUNK = 1 << 20
"""Values that are counted at a time: counting widens them."""

_MINUS_ZERO = 0x8000


class Ranking:
    """Finite values `(n,) float32` of any order; places count from 0."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        self.values, self._keys, counts = _counted(values)
        if counts[_MINUS_ZERO]:
            self.values, self._keys, counts = _counted(values + np.float32(0))  # -0.0 and 0.0 are one value
        self._counts = np.concatenate((counts[: _MINUS_ZERO - 1 : -1], counts[:_MINUS_ZERO]))
        self._starts = np.concatenate(([0], np.cumsum(self._counts)))
        self._is_coarse = not (_bits(self.values[:CHUNK]) & 0xFFFF).any() and not (_bits(self.values) & 0xFFFF).any()
        self._sorted: dict[int, NDArray[np.float32]] = {}

    @property
    def size(self) -> int:
        """Number of values."""
        return self.values.size

    def at(self, place: int) -> np.float32:
        """Return the value at this place in ascending order."""
        number = self._bin(place)
        value: np.float32 = self._members(number)[place - self._starts[number]]
        return value

    def run(self, value: np.float32) -> tuple[int, int]:
        """Return the first place of a value that is there and the one after its last."""
        key = int(_bits(np.array([value], np.float32) + np.float32(0))[0] >> 16)
        number = _bin_of(key)
        members, start = self._members(number), int(self._starts[number])
        return start + int(np.searchsorted(members, value)), start + int(np.searchsorted(members, value, "right"))

    def commoner_than(self, count: float) -> list[np.float32]:
        """Return the values, ascending, that are there more than `count` times."""
        found: list[np.float32] = []
        for number in np.flatnonzero(self._counts > count):
            members = self._members(int(number))
            if self._is_coarse:
                found.append(members[0])
            else:
                values, counts = np.unique(members, return_counts=True)
                found += list(values[counts > count])
        return found

    def _bin(self, place: int) -> int:
        return int(np.searchsorted(self._starts, place, "right")) - 1

    def _members(self, number: int) -> NDArray[np.float32]:
        """Return the values of a bin, sorted."""
        if number not in self._sorted:
            key = _key_of(number)
            if self._is_coarse:  # all values of a bin are one
                one = np.array([key << 16], np.uint32).view(np.float32)[0]
                self._sorted[number] = np.full(self._counts[number], one, np.float32)
            else:
                self._sorted[number] = np.sort(self.values[self._keys == key])
        return self._sorted[number]


def _bin_of(key: int) -> int:
    """Return the number, in ascending order, of the bin of values with these first bits."""
    return BINS - 1 - key if key >= _MINUS_ZERO else _MINUS_ZERO + key  # of negative values larger bits are smaller


def _key_of(number: int) -> int:
    """Return the first bits of the values in a bin."""
    return BINS - 1 - number if number < _MINUS_ZERO else number - _MINUS_ZERO


def _bits(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    return np.ascontiguousarray(values).view(np.uint32)


def _counted(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint16], NDArray[np.intp]]:
    """Return the values, their first 16 bits, and how many have each."""
    keys = (_bits(values) >> 16).astype(np.uint16)
    counts = np.zeros(BINS, np.intp)
    for start in range(0, keys.size, CHUNK):
        counts += np.bincount(keys[start : start + CHUNK], minlength=BINS)
    return values, keys, counts

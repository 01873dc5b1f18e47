"""Half turns: those about the axes of a tilt series, which turn a particle's image as they turn the particle.

Whatever a volume is, its sum with its half-turned self is even under that turn and their difference is odd. So the
orientations that half turns lead into each other are sums and differences of the same few even and odd parts: what has
to be done once for each orientation is done for one in two or four of them.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from picker_training.simulator.microscope import Microscope

NO_TURN, ABOUT_Y, ABOUT_Z, ABOUT_X = (1, 1, 1), (-1, 1, -1), (1, -1, -1), (-1, -1, 1)
"""Signs of z, y and x after the turn."""


def half_turns(microscope: Microscope) -> NDArray[np.int64]:
    """Return the half turns that commute with the microscope, `(g, 3) int64`, signs of zyx; the first is none.

    Turned about the tilt axis y, a particle is seen from below in every image, and a projection looks alike from both
    sides; turned about z or x it is seen at the opposite tilts, which is the same where all of these are there.
    The third and the last lead into each other by the second, so that the order is that of `walsh_hadamard`.
    """
    tilts = np.sort(microscope.tilts_degree)
    symmetric = np.allclose(tilts, -tilts[::-1], atol=1e-6)
    return np.array([NO_TURN, ABOUT_Y, ABOUT_Z, ABOUT_X] if symmetric else [NO_TURN, ABOUT_Y])


def one_of_turned(rotations: NDArray[np.float64], turns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return those rotations `(n, 3, 3)` that every turn would lead further away from none at all.

    Of evenly spread ones one in `g` is left, and these with their turned ones are spread about as evenly; never less
    than one. The angle of R falls with its trace.
    """
    traces = np.einsum("ti,nii->nt", turns, rotations)
    kept: NDArray[np.float64] = rotations[traces.argmax(axis=1) == 0]
    return kept if len(kept) else rotations[:1]


def turned(rotations: NDArray[np.float64], turns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the rotations `(n, 3, 3)` followed by each turn, `(g n, 3, 3)`: all by the first, all by the second."""
    followed: NDArray[np.float64] = (turns[:, None, :, None] * rotations).reshape(-1, 3, 3)
    return followed


def parities(images: Tensor, mask: Tensor, turns: NDArray[np.int64]) -> Tensor:
    """Return the parts of images `(n, m)` that are even or odd under each turn, `(g, n, m)`, in Sylvester's order.

    mask: `(b, b, b) float32`, which the turns leave as it is, odd b; the images hold what is inside, `m` voxels.
    """
    inside = mask.reshape(-1) > 0
    numbers = torch.full(inside.shape, -1)
    numbers[inside] = torch.arange(images.shape[1])
    cube = numbers.reshape(mask.shape)
    orders = [cube.flip([axis for axis in range(3) if turn[axis] < 0]).reshape(-1)[inside] for turn in turns]
    return walsh_hadamard(torch.stack([images[:, order] for order in orders])) / len(turns)


def highest_of_turned(parts: Tensor) -> Tensor:
    """Return the highest of what the even and odd parts `(g, ...)` make of each turn, `walsh_hadamard(parts).amax(0)`.

    The higher of a + b and a - b is a + |b|, so half of them are never made.
    """
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        return parts[0] + parts[1].abs()
    low, high = parts.chunk(2)
    return torch.maximum(highest_of_turned(low + high), highest_of_turned(low - high))


def walsh_hadamard(values: Tensor) -> Tensor:
    """Return the Walsh-Hadamard transform of values `(g, ...)` along their first axis, g a power of 2: H @ values.

    H is Sylvester's: H_1 = (1), H_2n = ((H_n, H_n), (H_n, -H_n)). H @ H is g times nothing done.
    """
    if len(values) == 1:
        return values
    low, high = values.chunk(2)
    return torch.cat([walsh_hadamard(low + high), walsh_hadamard(low - high)])

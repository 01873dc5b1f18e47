"""Which part of a SHREC folder's reconstruction its truth covers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from picker_runtime.errors import InputError, PickerError
from picker_runtime.geometry import Box, Triple
from picker_runtime.mrc import MrcFile
from picker_training.datasets.shrec import TOMOGRAM, find_file, open_file, order_of, read_truth
from picker_training.datasets.truth import Truth

MASKS = ("occupancy_mask", "class_mask", "grandmodel")
"""Volumes of the truth's frame, by which it is told; the first that lies in the folder counts."""

FULL_SLICES = 512
"""Slices of the reconstructions of SHREC 2019, 2020 and 2021."""

SLAB_OFFSETS = {2019: 156, 2020: 156, 2021: 166}
"""By year: slices of the reconstruction below the slab of 200 (2021: 180) slices, the same above it."""

SAMPLED_TRUTHS = 200
"""So many truths are looked up in the mask to tell what their z counts from."""

_USE_OTHERS = "use the masks that belong to the reconstruction"
_SAY_OFFSET = "say how many slices of the reconstruction lie below the truth's: --z-offset N"


@dataclass(frozen=True, kw_only=True)
class TrainingVolume:
    """A reconstruction and the slab of it whose particles are known.

    path: the reconstruction, not compressed. shape: its size in voxels, zyx.
    z_offset: what to add to z of the particle list for a slice of the reconstruction.
    slices: slices the truth covers, from `z_offset` on; only there is a voxel without particle known to have none.
    """

    path: Path
    shape: Triple
    z_offset: int
    slices: int

    @property
    def slab(self) -> Box:
        """The part of the reconstruction that the truth covers."""
        depth, height, width = self.shape
        return Box((self.z_offset, 0, 0), (min(self.z_offset + self.slices, depth), height, width))

    def placed(self, truth: Truth) -> Truth:
        """Return the truth in voxels of the reconstruction."""
        return Truth(names=truth.names, positions=truth.positions + np.array([self.z_offset, 0.0, 0.0]))


def training_volume(folder: Path, *, year: int | None = None, z_offset: int | None = None) -> TrainingVolume:
    """Tell which slab of a folder's reconstruction the truth covers, by the headers and, where needed, the masks.

    Masks as deep as the reconstruction: the offset, 0 or that of the slab in 512 slices, by which the listed centres
    fall on their own particles. Shallower masks: the slab is in the middle, as in 2019 (156 + 200 + 156 slices), 2020
    (the same) and 2021 (166 + 180 + 166). No masks: the year's offset if the reconstruction has 512 slices.

    year: 2019, 2020 or 2021, if it is known; 2019 lists particles as `class z y x`.
    z_offset: instead of judging.

    Raises:
        InputError: E46, if there is no reconstruction, it is compressed, or what its slab is cannot be told; E10 to E22
            if a volume cannot be read.
    """
    path = find_file(folder, TOMOGRAM)
    if path.suffix == ".gz":
        raise _refusal(folder, f"{path.name} is compressed", f"decompress it: gunzip -k {path.name}")
    with MrcFile(path) as file:
        shape = file.header.shape
    mask_name, mask_shape = _mask_shape(folder)
    slices = mask_shape[0] if mask_shape else shape[0]
    if mask_shape and mask_shape[1:] != shape[1:]:
        raise _refusal(
            folder, f"the reconstruction has {_size(shape)} voxels, {mask_name} {_size(mask_shape)}", _USE_OTHERS
        )
    if z_offset is None:
        if mask_shape is None:
            z_offset = _offset_without_masks(folder, shape, year)
        elif slices == shape[0]:
            z_offset = _offset_of_list(folder, shape, year, mask_name)
        else:
            z_offset = _offset_of_middle(folder, shape[0], slices)
    if z_offset and slices == shape[0]:
        slices = shape[0] - 2 * z_offset
    if z_offset < 0 or slices < 1 or z_offset + slices > shape[0]:
        raise _refusal(folder, f"{slices} slices from {z_offset} on do not fit into {shape[0]}", _SAY_OFFSET)
    return TrainingVolume(path=path, shape=shape, z_offset=z_offset, slices=slices)


def _mask_shape(folder: Path) -> tuple[str, Triple | None]:
    for name in MASKS:
        try:
            with open_file(folder, f"{name}.mrc") as path, MrcFile(path) as file:
                return name, file.header.shape
        except PickerError as error:
            if error.problem != "not found":
                raise
    return "", None


def _offset_without_masks(folder: Path, shape: Triple, year: int | None) -> int:
    if year in SLAB_OFFSETS and shape[0] == FULL_SLICES:
        return SLAB_OFFSETS[year]
    raise _refusal(folder, f"no masks tell which of the {shape[0]} slices the truth covers", _SAY_OFFSET)


def _offset_of_middle(folder: Path, depth: int, slices: int) -> int:
    if slices > depth or (depth - slices) % 2:
        raise _refusal(folder, f"masks of {slices} slices are not the middle of {depth}", _SAY_OFFSET)
    return (depth - slices) // 2


def _offset_of_list(folder: Path, shape: Triple, year: int | None, mask_name: str) -> int:
    """Return the offset by which most listed centres fall on their own particles in a mask of the same shape."""
    truth = read_truth(folder, order=order_of(year))
    offsets = sorted({0, *SLAB_OFFSETS.values()}) if shape[0] == FULL_SLICES else [0]
    if not len(truth) or mask_name != "occupancy_mask":
        if len(offsets) == 1:
            return 0
        raise _refusal(folder, f"nothing tells what z counts from: {mask_name} has all {shape[0]} slices", _SAY_OFFSET)
    right = _right_centres(folder, truth, offsets)
    best = max(offsets, key=lambda offset: right[offset])
    sampled = min(len(truth), SAMPLED_TRUTHS)
    if 2 * right[best] <= sampled:
        problem = f"only {right[best]} of {sampled} listed centres lie on their own particle in the occupancy mask"
        raise _refusal(folder, problem, _SAY_OFFSET)
    return best


def _right_centres(folder: Path, truth: Truth, offsets: list[int]) -> dict[int, int]:
    sample = np.linspace(0, len(truth) - 1, min(len(truth), SAMPLED_TRUTHS)).astype(int)
    right = dict.fromkeys(offsets, 0)
    with open_file(folder, "occupancy_mask.mrc") as path, MrcFile(path) as mask:
        for i in sample:
            for offset in offsets:
                z, y, x = np.add(np.rint(truth.positions[i]).astype(int), (offset, 0, 0)).tolist()
                voxel = Box((z, y, x), (z + 1, y + 1, x + 1))
                if voxel.intersection(Box.whole(mask.header.shape)) == voxel:
                    right[offset] += int(mask.read(voxel)[0, 0, 0] == i + 1)
    return right


def _refusal(folder: Path, problem: str, fix: str) -> InputError:
    return InputError(46, folder.name, problem, fix)


def _size(shape: Triple) -> str:
    return "x".join(str(n) for n in reversed(shape))

"""The MRC header: parsed strictly, and judged against the file's size before anything is read or allocated.

Formats: MRC2014 (Cheng et al. 2015, J. Struct. Biol. 192, 146) and IMOD's flags (`mrc_format.txt` of IMOD).
"""

import struct
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np

from picker_runtime.errors import InputError
from picker_runtime.geometry import Triple

HEADER_BYTES = 1024
MAX_AXIS = 65_536
SAMPLE_TYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
"""Voxel types by MRC mode; mode 0 is `u1` where the file or the user says so."""

ByteSign = Literal["signed", "unsigned"]
Floats = tuple[float, float, float]

_REFUSED_MODES = {
    3: ("complex Fourier data, not a tomogram", "give the real-space volume"),
    4: ("complex Fourier data, not a tomogram", "give the real-space volume"),
    16: ("a colour image, not a tomogram", "give the grey volume"),
    101: ("4-bit voxels, which are not read", "convert it with IMOD: newstack -mode 2 IN OUT"),
}
_KNOWN_FORMATS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "a gzip file", "decompress it: gunzip -k FILE"),
    (b"BZh", "a bzip2 file", "decompress it: bunzip2 -k FILE"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "decompress it: zstd -d FILE"),
    (b"\xfd7zXZ\x00", "an xz file", "decompress it: unxz -k FILE"),
    (b"PK\x03\x04", "a zip archive", "unpack it: unzip FILE"),
    (b"II*\x00", "a TIFF image", "convert it with IMOD: tif2mrc FILE OUT.mrc"),
    (b"MM\x00*", "a TIFF image", "convert it with IMOD: tif2mrc FILE OUT.mrc"),
    (b"II+\x00", "a BigTIFF image", "convert it with IMOD: tif2mrc FILE OUT.mrc"),
    (b"MM\x00+", "a BigTIFF image", "convert it with IMOD: tif2mrc FILE OUT.mrc"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "convert it with EMAN2: e2proc3d.py FILE OUT.mrc"),
    (b"\x93NUMPY", "a NumPy array file", "load it in Python and detect on the array"),
    (b"<!doctype html", "an HTML page", "download the tomogram itself again"),
    (b"<html", "an HTML page", "download the tomogram itself again"),
)
_IMOD_STAMP = 1146047817  # the four letters "IMOD"
_IMOD_SIGNED = 1
_VOLUME_STACKS = range(401, 631)


@dataclass(frozen=True, kw_only=True)
class MrcHeader:
    """What an MRC header says, in z, y, x order, after it was found to fit its file.

    voxel_size_angstrom: cell / grid per axis as stored, 0 where the grid is not positive; may be nonsense.
    axes: MAPC, MAPR, MAPS as stored (1, 2, 3 = x, y, z).
    labels: the used 80-byte labels, raw.
    sign_is_assumed: whether neither the file nor the caller says if the bytes of mode 0 are signed.
    """

    shape: Triple
    mode: int
    dtype: np.dtype[Any]
    data_offset: int
    voxel_size_angstrom: Floats
    origin_angstrom: Floats
    axes: Triple
    ispg: int
    nsymbt: int
    labels: tuple[bytes, ...]
    sign_is_assumed: bool
    warnings: tuple[str, ...]

    @property
    def unsigned(self) -> bool:
        """Whether voxels are unsigned integers."""
        return self.dtype.kind == "u"

    @property
    def is_volume_stack(self) -> bool:
        """Whether the file holds several volumes."""
        return self.ispg in _VOLUME_STACKS


def parse_header(block: bytes, file_size: int, *, subject: str, mode0: ByteSign | None = None) -> MrcHeader:
    """Return the header in the file's first 1,024 bytes, in the one byte order in which it fits the file.

    Raises:
        InputError: E10 not MRC, E11 another known format, E20 absurd, E21 truncated, E22 unsupported mode.
    """
    start = block.lstrip().lower() if block[:1] in b"< \t\r\n" else block
    for magic, what, fix in _KNOWN_FORMATS:
        if start.startswith(magic):
            raise InputError(11, subject, f"{what}, not an MRC file", fix.replace("FILE", subject))
    if len(block) < HEADER_BYTES:
        problem = f"not an MRC file: {len(block):,} bytes, a header alone has {HEADER_BYTES:,}"
        raise InputError(10, subject, problem, "check that the file arrived completely")
    words = _fitting_words(block, file_size, subject)
    stamped = words.imod_stamp == _IMOD_STAMP
    if mode0 is None:
        mode0 = "unsigned" if stamped and not words.imod_flags & _IMOD_SIGNED else "signed"
        assumed = words.mode == 0 and not stamped
    else:
        assumed = False
    sample = "u1" if words.mode == 0 and mode0 == "unsigned" else SAMPLE_TYPES[words.mode]
    used = words.label_count if 0 <= words.label_count <= 10 else 10
    return MrcHeader(
        shape=words.shape,
        mode=words.mode,
        dtype=np.dtype(words.order + sample),
        data_offset=HEADER_BYTES + words.nsymbt,
        voxel_size_angstrom=words.voxel_size,
        origin_angstrom=words.origin,
        axes=words.axes,
        ispg=words.ispg,
        nsymbt=words.nsymbt,
        labels=tuple(block[224 + 80 * i : 304 + 80 * i] for i in range(used)),
        sign_is_assumed=assumed,
        warnings=_warnings(block, words, file_size),
    )


class _Words(NamedTuple):
    """The header's numbers in one byte order, before any of them is believed; triples are z, y, x."""

    order: str
    shape: Triple
    mode: int
    voxel_size: Floats
    axes: Triple
    ispg: int
    nsymbt: int
    imod_stamp: int
    imod_flags: int
    origin: Floats
    label_count: int

    @classmethod
    def unpack(cls, order: str, block: bytes) -> "_Words":
        words = struct.unpack(order + "10i6f3i3f2i", block[:96])
        nx, ny, nz, mode = words[:4]
        z, y, x = (c / m if m > 0 else 0.0 for c, m in zip(words[12:9:-1], words[9:6:-1], strict=True))
        stamp, flags = struct.unpack(order + "2i", block[152:160])
        origin = struct.unpack(order + "3f", block[196:208])
        (labels,) = struct.unpack(order + "i", block[220:224])
        ispg, nsymbt = words[22:24]
        return cls(order, (nz, ny, nx), mode, (z, y, x), words[16:19], ispg, nsymbt, stamp, flags, origin[::-1], labels)

    @property
    def data_bytes(self) -> int:
        nz, ny, nx = self.shape
        return nz * ny * nx * np.dtype(SAMPLE_TYPES[self.mode]).itemsize


class _Misfit(NamedTuple):
    """Why a header does not fit; `likeness` says how far it got before, to complain about the likelier byte order."""

    likeness: int
    code: int
    problem: str
    fix: str


def _fitting_words(block: bytes, file_size: int, subject: str) -> _Words:
    orders = "<>" if block[212] != 0x11 else "><"
    both = [_Words.unpack(order, block) for order in orders]
    misfits = [_misfit(words, file_size, _has_map(block)) for words in both]
    fitting = [words for words, misfit in zip(both, misfits, strict=True) if misfit is None]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InputError(20, subject, "the header fits the file in both byte orders", "re-export it")
    _refuse(max((m for m in misfits if m), key=lambda misfit: misfit.likeness), subject)


def _refuse(misfit: _Misfit, subject: str) -> NoReturn:
    raise InputError(misfit.code, subject, misfit.problem, misfit.fix)


def _misfit(words: _Words, file_size: int, has_map: bool) -> _Misfit | None:
    nz, ny, nx = words.shape
    size = f"{nx} x {ny} x {nz}"
    plausible = all(1 <= n <= MAX_AXIS for n in words.shape)
    known = words.mode in SAMPLE_TYPES or words.mode in _REFUSED_MODES
    if not has_map and not (plausible and known):
        problem = f"not an MRC file: its first numbers would mean {size} voxels of mode {words.mode}"
        return _Misfit(0, 10, problem, "check that it is a tomogram and arrived completely")
    if not plausible:
        problem = f"absurd header: {size} voxels, 1 to {MAX_AXIS:,} per axis are possible"
        return _Misfit(1, 20, problem, "re-export it")
    if words.mode not in SAMPLE_TYPES:
        what, fix = _REFUSED_MODES.get(words.mode, ("not a mode of MRC", "re-export it as mode 2"))
        return _Misfit(2 if words.mode in _REFUSED_MODES else 1, 22, f"mode {words.mode}: {what}", fix)
    return _size_misfit(words.nsymbt, words.data_bytes, file_size)


def _size_misfit(nsymbt: int, data_bytes: int, file_size: int) -> _Misfit | None:
    found = file_size - HEADER_BYTES - nsymbt
    if nsymbt >= 0 and found >= data_bytes:
        return None
    if nsymbt > 0 and file_size - HEADER_BYTES == data_bytes:
        problem = (
            f"truncated: the header says {data_bytes:,} data bytes, the file has {max(found, 0):,}; "
            f"the {nsymbt:,} missing are the size of the extended header"
        )
        return _Misfit(4, 21, problem, "re-export it, or set nsymbt to 0 in its header")
    if not 0 <= nsymbt <= file_size - HEADER_BYTES:
        problem = f"absurd header: an extended header of {nsymbt:,} bytes in a file of {file_size:,}"
        return _Misfit(3, 20, problem, "re-export it")
    problem = f"truncated: the header says {data_bytes:,} data bytes, the file has {found:,}"
    return _Misfit(4, 21, problem, "copy or export it again")


def _has_map(block: bytes) -> bool:
    return block[208:211] == b"MAP"


def _warnings(block: bytes, words: _Words, file_size: int) -> tuple[str, ...]:
    warnings = []
    expected_stamp = b"\x44" if words.order == "<" else b"\x11"
    if not _has_map(block) or block[212:213] != expected_stamp:
        warnings.append("no MAP identifier or an odd machine stamp; read because all its numbers fit the file")
    extra = file_size - HEADER_BYTES - words.nsymbt - words.data_bytes
    if extra:
        warnings.append(f"{extra:,} bytes after the data were ignored")
    return tuple(warnings)

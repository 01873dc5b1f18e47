"""Bad and odd inputs, each written by a few lines: what the field has met, and what picker must say to it.

`BAD` files are refused with a code when they are opened, `UNMEASURABLE` ones when their intensity is measured, `ODD`
ones are read. Every file is small, or sparse.
"""

import bz2
import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from badinput.mrc_block import SHAPE, header

CELLS = 20 * 24 * 28
NOISE = np.random.default_rng(7).normal(0, 1, SHAPE).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """A file to write into a folder; code is None where it must be read."""

    name: str
    code: int | None
    write: Callable[[Path], Path]


def _file(content: bytes, name: str = "tomogram.mrc") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


def _sparse(block: bytes, size: int) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / "tomogram.mrc"
        path.write_bytes(block)
        os.truncate(path, size)
        return path

    return write


def _link(folder: Path) -> Path:
    (folder / "a.mrc").symlink_to("b.mrc")
    (folder / "b.mrc").symlink_to("a.mrc")
    return folder / "a.mrc"


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.mrc")
    return folder / "pipe.mrc"


def _folder(folder: Path) -> Path:
    (folder / "folder.mrc").mkdir()
    return folder / "folder.mrc"


def _named(name: str, content: bytes) -> Case:
    return Case(f"named {name[:20]!r}", None, _file(content, name))


DATA = NOISE.tobytes()
GOOD = header() + DATA
_NAN, _INF = float("nan"), float("inf")


def _dimensions() -> list[Case]:
    impossible = [(0, 24, 28), (20, 0, 28), (20, 24, -1), (65_537, 24, 28), (2**31 - 1,) * 3, (-(2**31),) * 3]
    cases = []
    for code, map_id in ((20, b"MAP "), (10, bytes(4))):
        for z, y, x in impossible:
            content = header(shape=(z, y, x), map_id=map_id) + DATA
            cases.append(Case(f"{x} x {y} x {z} voxels, MAP field {map_id!r}", code, _file(content)))
    return cases


def _voxel_sizes() -> list[Case]:
    sizes = [0.0, 1.0, -10.0, _NAN, _INF, 0.4, 101.0, 1.8e-32]
    cases = [Case(f"voxel size {a}", 31, _file(header(cell=(28 * a, 24 * a, 20 * a)) + DATA)) for a in sizes]
    cases += [
        Case(f"voxel size {a} on z", 31, _file(header(cell=(280, 240, 20 * a)) + DATA)) for a in (0.0, _NAN, -10.0)
    ]
    cases += [
        Case("grid 0", 31, _file(header(grid=(0, 0, 0)) + DATA)),
        Case("grid 1", 31, _file(header(grid=(1, 1, 1)) + DATA)),
        Case("grid -1", 31, _file(header(grid=(-28, -24, -20)) + DATA)),
        Case("anisotropic 1.2 %", 32, _file(header(cell=(280, 240, 202.4)) + DATA)),
        Case("anisotropic, x twice", 32, _file(header(cell=(560, 240, 200)) + DATA)),
    ]
    return cases


def _foreign() -> list[Case]:
    contents = {
        "gzip": gzip.compress(GOOD),
        "bzip2": bz2.compress(GOOD),
        "zip": b"PK\x03\x04" + bytes(2000),
        "zstd": b"\x28\xb5\x2f\xfd" + bytes(2000),
        "xz": b"\xfd7zXZ\x00" + bytes(2000),
        "TIFF little": b"II*\x00\x08\0\0\0" + bytes(2000),
        "TIFF big": b"MM\x00*\0\0\0\x08" + bytes(2000),
        "BigTIFF": b"II+\x00\x08\0\0\0" + bytes(2000),
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(2000),
        "numpy": b"\x93NUMPY\x01\x00" + bytes(2000),
        "HTML": b"<!DOCTYPE html><html><body>404</body></html>" + b" " * 2600,
        "HTML after blanks": b"\r\n  <HTML><body>404</body></html>" + b" " * 2600,
        "short gzip": gzip.compress(b"")[:18],
    }
    return [Case(f"{name} file", 11, _file(content)) for name, content in contents.items()]


def _not_mrc() -> list[Case]:
    random = np.random.default_rng(3).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    contents = {
        "empty": b"",
        "one byte": b"\0",
        "1,023 bytes": GOOD[:1023],
        "random": b"\xa5" + random,
        "zeros": bytes(60_000),
        "text": b"# x y z\n" + b"12.5 13.5 14.5\n" * 400,
        "negative mode, no MAP": header(mode=-7, map_id=b"\0\0\0\0") + DATA,
    }
    return [Case(name, 10, _file(content)) for name, content in contents.items()]


def _truncated() -> list[Case]:
    extended = header(nsymbt=2048)
    return [
        Case("no data", 21, _file(GOOD[:1024])),
        Case("one byte short", 21, _file(GOOD[:-1])),
        Case("half", 21, _file(GOOD[: len(GOOD) // 2])),
        Case("big-endian, half", 21, _file((header(order=">") + DATA)[: len(GOOD) // 2])),
        Case("short by the extended header", 21, _file(extended + DATA)),
        Case("short by a huge extended header", 21, _file(header(nsymbt=2**31 - 1) + DATA)),
        Case("short, with extended header", 21, _file(extended + bytes(2048) + DATA[:-4])),
        Case("65536^3 claimed", 21, _file(header(shape=(65_536,) * 3) + DATA)),
        Case("half a sparse volume", 21, _sparse(header(shape=(4096,) * 3), 2**37)),
    ]


def _axes() -> list[Case]:
    orders = [(1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1), (1, 1, 1), (0, 2, 3), (-1, 2, 3)]
    return [Case(f"axis order {axes}", 35, _file(header(axes=axes) + DATA)) for axes in orders]


def _modes() -> list[Case]:
    data = bytes(CELLS * 16)
    return [Case(f"mode {mode}", 22, _file(header(mode=mode) + data)) for mode in (3, 4, 5, 16, 101, 7, -1, 2**20)]


def _shapes() -> list[Case]:
    thin = [(15, 24, 28), (20, 15, 28), (20, 24, 15), (2, 200, 200)]
    cases = [Case(f"thin {shape}", 36, _file(header(shape=shape) + bytes(4 * 200 * 400))) for shape in thin]
    cases += [Case("one section", 33, _file(header(shape=(1, 64, 64)) + bytes(4 * 64 * 64)))]
    cases += [Case(f"ISPG {ispg}", 34, _file(header(ispg=ispg) + DATA)) for ispg in (401, 630)]
    return [*cases, Case("ISPG 401, grid 0", 34, _file(header(ispg=401, grid=(0, 0, 0)) + DATA))]


def _unopenable() -> list[Case]:
    return [
        Case("absent", 12, lambda folder: folder / "absent.mrc"),
        Case("folder", 12, _folder),
        Case("symlink loop", 12, _link),
        Case("FIFO", 12, _pipe),
        Case("name with a null byte", 12, lambda folder: folder / "a\0b.mrc"),
        Case("name too long", 12, lambda folder: folder / ("n" * 300 + ".mrc")),
        Case("device", 12, lambda _: Path("/dev/null")),
    ]


BAD: list[Case] = [
    *_not_mrc(),
    *_foreign(),
    *_unopenable(),
    *_dimensions(),
    Case("negative extended header", 20, _file(header(nsymbt=-1) + DATA)),
    Case("extended header beyond the file", 20, _file(header(nsymbt=2**30) + DATA[:-4])),
    Case("fits both byte orders", 20, _sparse(header(shape=(65_536, 65_536, 256), mode=0), 1024 + 2**40)),
    *_truncated(),
    *_modes(),
    *_voxel_sizes(),
    *_axes(),
    *_shapes(),
]


def _with(values: np.ndarray, index: slice, value: float) -> bytes:
    changed = values.copy()
    changed.reshape(-1)[index] = value
    return header() + changed.tobytes()


UNMEASURABLE: list[Case] = [
    Case("2 % NaN", 41, _file(_with(NOISE, slice(0, None, 50), _NAN))),
    Case("2 % infinite", 41, _file(_with(NOISE, slice(0, None, 50), -_INF))),
    Case("all NaN", 41, _file(_with(NOISE, slice(None), _NAN))),
    Case("all zero", 42, _file(header() + bytes(4 * CELLS))),
    Case("constant", 42, _file(_with(NOISE, slice(None), 3.25))),
    Case("constant and 0.5 % NaN", 42, _file(_with(np.full(SHAPE, 3.25, np.float32), slice(0, None, 200), _NAN))),
    Case("one spike", 42, _file(_with(np.zeros(SHAPE, np.float32), slice(5, 6), 1e30))),
    Case("vanishing", 42, _file(header() + (NOISE * np.float32(1e-40)).tobytes())),
    Case("overflowing", 42, _file(header() + (np.sign(NOISE) * np.float32(3.4e38)).tobytes())),
    Case("constant bytes", 42, _file(header(mode=0) + bytes([7]) * CELLS)),
    Case("allocated, never written", 42, _sparse(header(shape=(1024, 1024, 1024)), 1024 + 2**32)),
]

_BIG = NOISE.astype(">f4").tobytes()
ODD: list[Case] = [
    Case("plain", None, _file(GOOD)),
    Case("longer than expected", None, _file(GOOD + bytes(77))),
    Case("no MAP", None, _file(header(map_id=b"\0\0\0\0") + DATA)),
    Case("no MAP, no stamp", None, _file(header(map_id=b"\0\0\0\0", stamp=bytes(4)) + DATA)),
    Case("odd stamp", None, _file(header(stamp=b"\0\0\x91E") + DATA)),
    Case("stamp contradicts", None, _file(header(stamp=b"\x11\x11\0\0") + DATA)),
    Case("big-endian", None, _file(header(order=">") + _BIG)),
    Case("big-endian, little stamp", None, _file(header(order=">", stamp=b"\x44\x44\0\0") + _BIG)),
    Case("big-endian, no MAP", None, _file(header(order=">", map_id=b"\0\0\0\0", stamp=bytes(4)) + _BIG)),
    Case("extended header", None, _file(header(nsymbt=1000) + b"\xff" * 1000 + DATA)),
    Case("ISPG 0, grid z 1", None, _file(header(ispg=0, grid=(28, 24, 1), cell=(280, 240, 10)) + DATA)),
    Case("axis order 0", None, _file(header(axes=(0, 0, 0)) + DATA)),
    Case("anisotropic 0.9 %", None, _file(header(cell=(280, 240, 201.8)) + DATA)),
    Case("0.9 % NaN", None, _file(_with(NOISE, slice(0, None, 112), _NAN))),
    Case("garbage labels", None, _file(header(labels=bytes(range(256)) * 3, nlabl=2**31 - 1) + DATA)),
    Case("escape in labels", None, _file(header(labels=b"\x1b[2J\x1b]0;owned\x07\n\r", nlabl=-5) + DATA)),
    _named("with blanks and 'quotes\".mrc", GOOD),
    _named("-x.mrc", GOOD),
    _named("new\nline\x1b[2J.mrc", GOOD),
    _named("Ångström 断層.mrc", GOOD),
    _named("n" * 251 + ".mrc", GOOD),
    _named(os.fsdecode(b"not-utf8-\xff\xfe.mrc"), GOOD),
]

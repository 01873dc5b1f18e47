"""MRC headers with any number in any place."""

import struct

SHAPE = (20, 24, 28)


def header(
    *,
    order: str = "<",
    shape: tuple[int, int, int] = SHAPE,
    mode: int = 2,
    grid: tuple[int, int, int] | None = None,
    cell: tuple[float, float, float] | None = None,
    axes: tuple[int, int, int] = (1, 2, 3),
    ispg: int = 1,
    nsymbt: int = 0,
    map_id: bytes = b"MAP ",
    stamp: bytes | None = None,
    imod: tuple[int, int] = (0, 0),
    nlabl: int = 1,
    labels: bytes = b"made by the corpus",
) -> bytes:
    """Return the 1,024 bytes of a header; shape is z, y, x; grid and cell are x, y, z as in the file."""
    nz, ny, nx = shape
    grid = grid if grid is not None else (nx, ny, nz)
    cell = cell if cell is not None else (nx * 10.0, ny * 10.0, nz * 10.0)
    block = bytearray(1024)
    struct.pack_into(order + "10i", block, 0, nx, ny, nz, mode, 0, 0, 0, *grid)
    struct.pack_into(order + "6f3i", block, 40, *cell, 90, 90, 90, *axes)
    struct.pack_into(order + "2i", block, 88, ispg, nsymbt)
    struct.pack_into(order + "2i", block, 152, *imod)
    stamp = stamp if stamp is not None else (b"\x44\x44\0\0" if order == "<" else b"\x11\x11\0\0")
    struct.pack_into(order + "4s4sfi", block, 208, map_id, stamp, 0, nlabl)
    block[224 : 224 + len(labels)] = labels
    return bytes(block)

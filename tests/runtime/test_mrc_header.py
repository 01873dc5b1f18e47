import struct
import time

import numpy as np
import pytest
from badinput.mrc_block import header
from hypothesis import given, settings
from hypothesis import strategies as st

from picker_runtime.errors import InputError
from picker_runtime.mrc_header import MrcHeader, parse_header


def test_triples_are_turned_to_zyx() -> None:
    block = bytearray(header(cell=(56, 72, 80), labels=b"first".ljust(80) + b"second", nlabl=1))
    struct.pack_into("<3f", block, 196, 1, 2, 3)
    parsed = parse_header(bytes(block), 1024 + 4 * 20 * 24 * 28, subject="a.mrc")
    assert parsed.shape == (20, 24, 28) and parsed.voxel_size_angstrom == (4, 3, 2)
    assert parsed.origin_angstrom == (3, 2, 1) and parsed.labels == (b"first".ljust(80),)


INTERESTING = [0, 1, -1, 2, 16, 255, 256, 1000, 65_535, 65_536, 65_537, 2**24, 2**31 - 1, -(2**31), 0x7FC00000]
WORDS = st.dictionaries(
    st.sampled_from(range(256)), st.one_of(st.sampled_from(INTERESTING), st.integers(-(2**31), 2**31 - 1))
)


@settings(max_examples=300)
@given(
    words=WORDS, order=st.sampled_from("<>"), size=st.one_of(st.integers(0, 2**45), st.just(1024 + 4 * 20 * 24 * 28))
)
def test_a_mutated_header_is_refused_or_fits_its_file(words: dict[int, int], order: str, size: int) -> None:
    block = bytearray(header(order=order))
    for word, value in words.items():
        struct.pack_into(order + "i", block, 4 * word, value)
    start = time.process_time()
    try:
        parsed: MrcHeader | None = parse_header(bytes(block), size, subject="a.mrc")
    except InputError as error:
        parsed = None
        assert error.code in (10, 11, 20, 21, 22) and str(error).isprintable()
    if parsed is not None:
        assert all(1 <= n <= 65_536 for n in parsed.shape) and parsed.nsymbt >= 0
        assert parsed.data_offset + np.prod(parsed.shape, dtype=object) * parsed.dtype.itemsize <= size
    assert time.process_time() - start < 0.05


@settings(max_examples=100)
@given(block=st.binary(max_size=1024), size=st.integers(0, 2**40))
def test_random_bytes_are_never_a_surprise(block: bytes, size: int) -> None:
    with pytest.raises(InputError):
        parse_header(block, size, subject="a.mrc")

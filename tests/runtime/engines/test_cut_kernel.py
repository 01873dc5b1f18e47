"""The kernel's arithmetic: its source built by a plain C compiler, and by NVRTC where that is installed; no GPU."""

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picker_runtime.engines.cuda import compiled_kernel
from picker_runtime.engines.cutting import KINDS, ORDER, order, planes_read
from picker_runtime.engines.device import DeviceBuffer
from picker_runtime.errors import EngineError
from picker_runtime.geometry import Box
from picker_runtime.intensity import Intensity, NormalisedSource
from picker_runtime.tomogram import Tomogram

SOURCE = files("picker_runtime.engines").joinpath("cut.cu").read_text()
SHIM = """
#define __device__
#define __global__
struct dim { unsigned x, y, z; };
static struct dim blockIdx, threadIdx, blockDim = {1, 1, 1};
%s
int order_bytes(void) { return sizeof(Order); }
void run(Order *orders, float *cubes, int count, int depth, int height, int width) {
    for (blockIdx.z = 0; blockIdx.z < (unsigned)(count * depth); blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < (unsigned)height + 1; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < (unsigned)width + 1; blockIdx.x++)
                cut(orders, cubes, depth, height, width);
}
"""
SHAPE = (17, 18, 19)
EDGES = (8, 9, 10)

Cut = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here to build the kernel's source with")
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "cut.c").write_text(SHIM % SOURCE)
    options = ["-shared", "-fPIC", "-O1", "-std=gnu99", "-Wall", "-Werror", "-fno-strict-aliasing"]
    subprocess.run([compiler, *options, "-o", folder / "cut.so", folder / "cut.c"], check=True, timeout=60)
    library = ctypes.CDLL(str(folder / "cut.so"))
    assert library.order_bytes() == ORDER.itemsize

    def cut(orders: np.ndarray) -> np.ndarray:
        cubes = np.full((len(orders), *EDGES), -7, np.float32)
        library.run(orders.ctypes.data_as(ctypes.c_void_p), cubes.ctypes.data_as(ctypes.c_void_p), len(orders), *EDGES)
        return cubes

    return cut


def volume(dtype: str, seed: int) -> np.ndarray:
    """Any bytes at all: every float16 and float32 there is, not-a-numbers and infinities among them."""
    nbytes = int(np.prod(SHAPE)) * np.dtype(dtype).itemsize
    return np.frombuffer(np.random.default_rng(seed).bytes(nbytes), dtype).reshape(SHAPE)


def in_ring(array: np.ndarray, planes: int, low: int) -> np.ndarray:
    """Return planes low..low+planes-1 where a ring has them; what it does not hold is no part of it."""
    ring = np.zeros((planes, *array.shape[1:]), array.dtype)
    for z in range(low, min(low + planes, array.shape[0])):
        ring[z % planes] = array[z]
    return ring


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(KINDS),
    byte_order=st.sampled_from("<>"),
    starts=st.lists(st.tuples(*[st.integers(-60, 60)] * 3), min_size=1, max_size=3),
    thin=st.booleans(),
)
def test_cubes_are_what_the_cpu_reads(
    kernel: Cut, seed: int, kind: str, byte_order: str, starts: list[tuple[int, int, int]], thin: bool
) -> None:
    array = volume(byte_order + kind, seed)
    tomogram = Tomogram.from_array(array, 10.0)
    source = NormalisedSource(tomogram, Intensity(center=2.5, scale=1, non_finite_fraction=0, fill=None))
    rings, orders = [], np.zeros(len(starts) + 1, ORDER)
    for row, start in enumerate(starts):
        low, high = planes_read(start[0], EDGES[0], SHAPE[0])
        planes = high - low if thin else SHAPE[0]
        rings.append(in_ring(array, planes, low if thin else 0))
        buffer = DeviceBuffer(address=rings[-1].ctypes.data, nbytes=rings[-1].nbytes)
        orders[row] = order(tomogram.raw(), volume=buffer, ring=planes, start=start, filler=source.mean)
    cubes = kernel(orders)
    for row, start in enumerate(starts):
        box = Box(start, tuple(a + n for a, n in zip(start, EDGES, strict=True)))
        inside = array[box.intersection(Box.whole(SHAPE)).slices]
        assert orders["finite"][row] == bool(np.isfinite(inside.astype(np.float32)).any())
        wanted = tomogram.read(box)
        wanted[~np.isfinite(wanted)] = 2.5
        np.testing.assert_array_equal(cubes[row], wanted)
        np.testing.assert_array_equal(np.signbit(cubes[row]), np.signbit(wanted))
    assert not cubes[-1].any()


def test_every_half_becomes_the_float_that_numpy_makes_of_it(kernel: Cut) -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view("f2").reshape(16, 64, 64)
    tomogram = Tomogram.from_array(halves, 10.0)
    buffer = DeviceBuffer(address=halves.ctypes.data, nbytes=halves.nbytes)
    seen = 0
    for z, y, x in np.ndindex(2, 8, 7):
        start = (8 * z, 9 * y, 10 * x)
        box = Box(start, tuple(a + n for a, n in zip(start, EDGES, strict=True)))
        orders = np.array([order(tomogram.raw(), volume=buffer, ring=16, start=start, filler=0.25)])
        wanted = tomogram.read(box)
        wanted[~np.isfinite(wanted)] = 0.25
        np.testing.assert_array_equal(kernel(orders)[0], wanted)
        seen += wanted.size
    assert seen >= 1 << 16


def test_the_planes_of_a_cube_are_those_that_reflection_reaches() -> None:
    assert planes_read(0, 8, 16) == (0, 8)
    assert planes_read(-8, 12, 16) == (0, 9)
    assert planes_read(12, 8, 16) == (11, 16)
    assert planes_read(-8, 40, 16) == (0, 16)
    assert planes_read(-100, 300, 16) == (0, 16)


def test_the_kernel_compiles_for_every_architecture_that_is_served() -> None:
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings is not installed")
    try:
        for architecture in ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"):
            code = compiled_kernel(nvrtc, architecture)
            assert code[:4] == b"\x7fELF" and b"cut" in code
    except EngineError as error:
        if error.code == 60:
            pytest.skip("nvidia-cuda-nvrtc is not installed")
        raise
    with pytest.raises(EngineError, match="no kernel for sm_10:"):
        compiled_kernel(nvrtc, "sm_10")

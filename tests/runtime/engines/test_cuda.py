"""The real device, where there is one."""

import numpy as np
import pytest

from picker_runtime.engines.cuda import CudaDevice
from picker_runtime.engines.cutting import KINDS, ORDER, order
from picker_runtime.engines.device import DeviceMemoryError
from picker_runtime.engines.driver import probe_driver
from picker_runtime.errors import EngineError
from picker_runtime.geometry import Box
from picker_runtime.tomogram import Tomogram

SHAPE, EDGES, START = (17, 18, 19), (16, 24, 32), (-4, -3, -8)


def test_without_a_driver_or_its_library_the_error_says_what_is_missing() -> None:
    if probe_driver().gpus:
        pytest.skip("there is a GPU here")
    with pytest.raises(EngineError) as caught:
        CudaDevice()
    assert caught.value.code in (60, 61) and caught.value.fix


@pytest.fixture
def device() -> CudaDevice:
    if not probe_driver().gpus:
        pytest.skip(f"no NVIDIA GPU here: {probe_driver().problem}")
    return CudaDevice()


@pytest.mark.gpu
@pytest.mark.parametrize("byte_order", "<>")
@pytest.mark.parametrize("kind", KINDS)
def test_cubes_cut_on_the_gpu_are_what_the_cpu_reads(device: CudaDevice, kind: str, byte_order: str) -> None:
    nbytes = int(np.prod(SHAPE)) * np.dtype(kind).itemsize
    array = np.frombuffer(np.random.default_rng(0).bytes(nbytes), byte_order + kind).reshape(SHAPE)
    tomogram = Tomogram.from_array(array, 10.0)
    stream, event = device.create_stream(), device.create_event()
    volume, host = device.allocate(nbytes), device.allocate_pinned(1 << 20)
    orders, cubes = device.allocate(2 * ORDER.itemsize), device.allocate(2 * int(np.prod(EDGES)) * 4)
    tomogram.raw().fill(host.array[:nbytes], first_row=0)
    device.copy_to_device_async(host, volume, nbytes, stream=stream)
    device.synchronise(stream)
    rows = np.zeros(2, ORDER)
    rows[1] = order(tomogram.raw(), volume=volume, ring=SHAPE[0], start=START, filler=2.5)
    host.array[: rows.nbytes] = rows.view(np.uint8)
    for recorded in (False, True):
        if recorded:
            device.begin_capture(stream)
        device.copy_to_device_async(host, orders, rows.nbytes, stream=stream)
        device.cut_async(orders, cubes, count=2, shape=EDGES, stream=stream)
        device.copy_to_host_async(cubes, host, cubes.nbytes, stream=stream, at=4096)
        if recorded:
            host.array[4096:] = 0
            device.replay(device.end_capture(stream), stream)
        device.record_event(event, stream)
        device.synchronise_event(event)
        found = host.array[4096 : 4096 + cubes.nbytes].view("f4").reshape(2, *EDGES)
        wanted = tomogram.read(Box(START, tuple(a + n for a, n in zip(START, EDGES, strict=True))))
        np.testing.assert_array_equal(found[1], np.where(np.isfinite(wanted), wanted, 2.5))
        assert not found[0].any()
    device.close()


@pytest.mark.gpu
def test_more_memory_than_there_is_can_be_told_from_other_failures(device: CudaDevice) -> None:
    memory = device.memory_info()
    assert 0 < memory.free <= memory.total
    with pytest.raises(DeviceMemoryError):
        device.allocate(2 * memory.total)
    device.free(device.allocate(1 << 20))
    device.close()

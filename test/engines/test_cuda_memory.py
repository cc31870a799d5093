"""The driver's functions get their arguments as C declares them; tried on a library whose device is the host."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.engines import cuda_memory
from lift3d_ros.engines.cuda_memory import CudaDevice, Gpu
from lift3d_ros.errors import EngineError

SOURCE = r"""
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
typedef unsigned long long address;
static int context, stream, is_current;
static size_t left = 1000000;
int cuInit(unsigned flags) { return flags ? 1 : 0; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int index) { *device = index + 40; return index > 1; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "Orin", size); return device != 41; }
int cuDeviceGetAttribute(int *value, int which, int device) { *value = which == 75 ? 8 : 7; return device != 41; }
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
int cuDevicePrimaryCtxRetain(void **out, int device) { *out = &context; return device < 40; }
int cuCtxSetCurrent(void *wanted) { is_current = wanted == &context; return is_current ? 0 : 201; }
int cuMemGetInfo_v2(size_t *free, size_t *total) { *free = left; *total = 2000000; return is_current ? 0 : 201; }
int cuMemAlloc_v2(address *out, size_t size) {
    if (size > left) return 2;
    left -= size;
    *out = (address)(size_t)malloc(size);
    return 0;
}
int cuMemFree_v2(address memory) { free((void *)(size_t)memory); return 0; }
int cuMemHostAlloc(void **out, size_t size, unsigned flags) { *out = malloc(size); return flags; }
int cuMemFreeHost(void *memory) { free(memory); return 0; }
int cuStreamCreate(void **out, unsigned flags) { *out = &stream; return flags == 1 ? 0 : 1; }
int cuStreamSynchronize(void *wanted) { return wanted == &stream ? 0 : 400; }
int cuMemcpyHtoDAsync_v2(address to, const void *from, size_t size, void *wanted) {
    memcpy((void *)(size_t)to, from, size);
    return wanted == &stream ? 0 : 400;
}
int cuMemcpyDtoHAsync_v2(void *to, address from, size_t size, void *wanted) {
    memcpy(to, (void *)(size_t)from, size);
    return wanted == &stream ? 0 : 400;
}
int cuMemsetD8Async(address to, unsigned char value, size_t size, void *wanted) {
    memset((void *)(size_t)to, value, size);
    return wanted == &stream ? 0 : 400;
}
int cuGetErrorName(int code, const char **name) {
    *name = code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OTHER";
    return 0;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("driver")
    (folder / "driver.c").write_text(SOURCE)
    command = [compiler, "-shared", "-fPIC", "-w", "-o", str(folder / "libcuda.so.1"), str(folder / "driver.c")]
    subprocess.run(command, check=True)
    return folder / "libcuda.so.1"


@pytest.fixture
def device(library: Path, monkeypatch: pytest.MonkeyPatch) -> CudaDevice:
    monkeypatch.setattr(cuda_memory, "_LIBRARY", str(library))
    return CudaDevice(1)


def test_a_device_is_described(device: CudaDevice) -> None:
    assert device.gpu == Gpu("Orin", (8, 7), (12, 6))
    assert 0 < device.free_bytes() <= 1_000_000


def test_what_is_copied_in_comes_out_again(device: CudaDevice) -> None:
    stream, address, pinned = device.new_stream(), device.allocate(400), device.allocate_pinned(400)
    given, found = np.arange(100, dtype=np.float32), np.empty(100, np.float32)
    device.copy_in(address, given.ctypes.data, 400, stream)
    device.copy_out(found.ctypes.data, address, 400, stream)
    device.wait(stream)
    np.testing.assert_array_equal(found, given)
    device.fill_zero(address, 200, stream)
    device.copy_out(found.ctypes.data, address, 400, stream)
    np.testing.assert_array_equal(found, np.where(np.arange(100) < 50, 0, given))
    device.release(address)
    device.release_pinned(pinned)


def test_errors_of_the_driver_have_their_name_and_a_remedy(device: CudaDevice) -> None:
    with pytest.raises(
        EngineError, match=r"cuMemAlloc_v2 failed with CUDA_ERROR_OUT_OF_MEMORY; free memory of the device"
    ):
        device.allocate(10_000_000)
    with pytest.raises(EngineError, match="cuStreamSynchronize failed with CUDA_ERROR_OTHER"):
        device.wait(12345)


def test_a_device_that_is_not_there_is_named(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_memory, "_LIBRARY", str(library))
    with pytest.raises(EngineError, match=r"engine\.device 'cuda:2': this machine has 2 CUDA devices"):
        CudaDevice(2)

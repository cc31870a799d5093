"""Memory, copies and streams of one CUDA device through the driver library alone; imports no torch and no CUDA wheel.

The driver's functions are the one part of CUDA that comes with every driver, on a Jetson and on a PC, and stays the
same from release to release.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Protocol

from lift3d_ros.errors import EngineError

_LIBRARY = "libcuda.so.1"
_MAJOR_ATTRIBUTE, _MINOR_ATTRIBUTE = 75, 76
_NON_BLOCKING = 1


@dataclass(frozen=True)
class Gpu:
    """What an engine depends on: device name, compute capability, and the CUDA version that the driver knows."""

    name: str
    compute_capability: tuple[int, int]
    driver_cuda: tuple[int, int]


class DeviceMemory(Protocol):
    """What an engine needs of a device; addresses and streams are plain integers."""

    @property
    def gpu(self) -> Gpu:
        """The device."""

    @property
    def index(self) -> int:
        """Its number."""

    def free_bytes(self) -> int:
        """Return how much memory of the device is free."""

    def use(self) -> None:
        """Make this device the current one of the calling thread."""

    def allocate(self, size: int) -> int:
        """Return the address of new device memory."""

    def release(self, address: int) -> None:
        """Give device memory back."""

    def allocate_pinned(self, size: int) -> int:
        """Return the address of new host memory that the device can copy from and to by itself."""

    def release_pinned(self, address: int) -> None:
        """Give pinned memory back."""

    def new_stream(self) -> int:
        """Return a stream."""

    def wait(self, stream: int) -> None:
        """Return when everything in the stream is done."""

    def copy_in(self, device: int, host: int, size: int, stream: int) -> None:
        """Copy from host to device, in the stream."""

    def copy_out(self, host: int, device: int, size: int, stream: int) -> None:
        """Copy from device to host, in the stream."""

    def fill_zero(self, device: int, size: int, stream: int) -> None:
        """Fill device memory with zeros, in the stream."""


def device_index(device: str) -> int:
    """Return the number of the GPU that ``engine.device`` names; ``cpu``, its default, stands for the first one.

    Raises:
        EngineError: not the name of a GPU.
    """
    number = device.removeprefix("cuda").removeprefix(":") or "0"
    if device != "cpu" and not (device.startswith("cuda") and number.isdecimal()):
        raise EngineError(
            f"engine.device '{device}': a GPU is cuda or cuda:0, cuda:1, ...; cpu stands for the first one"
        )
    return 0 if device == "cpu" else int(number)


class CudaDevice:
    """One device in the primary context of this process, which other libraries share."""

    def __init__(self, index: int = 0) -> None:
        """Open device `index`.

        Raises:
            EngineError: no driver, or no such device.
        """
        try:
            self._driver: Any = ctypes.CDLL(_LIBRARY)
        except OSError:
            raise EngineError(
                f"no NVIDIA driver on this machine ({_LIBRARY} was not found); TensorRT engines run only with one. Set "
                "engine.backend to onnxruntime"
            ) from None
        self._call("cuInit", ctypes.c_uint(0))
        count = ctypes.c_int()
        self._call("cuDeviceGetCount", ctypes.byref(count))
        if index >= count.value:
            raise EngineError(
                f"engine.device 'cuda:{index}': this machine has {count.value} CUDA devices, from cuda:0 on"
            )
        self.index = index
        device, self._context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(index))
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)
        self.use()
        self.gpu = self._describe(device)

    def _describe(self, device: ctypes.c_int) -> Gpu:
        name, value = ctypes.create_string_buffer(256), ctypes.c_int()
        self._call("cuDeviceGetName", name, ctypes.c_int(256), device)
        numbers = []
        for attribute in (_MAJOR_ATTRIBUTE, _MINOR_ATTRIBUTE):
            self._call("cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(attribute), device)
            numbers.append(value.value)
        self._call("cuDriverGetVersion", ctypes.byref(value))  # 12060 is 12.6
        return Gpu(name.value.decode(), (numbers[0], numbers[1]), (value.value // 1000, value.value % 1000 // 10))

    def _call(self, function: str, *arguments: Any) -> None:
        code = getattr(self._driver, function)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._driver.cuGetErrorName(ctypes.c_int(code), ctypes.byref(text))
            reason = text.value.decode() if text.value else f"error {code}"
            remedy = "; free memory of the device, or take a smaller model" if "MEMORY" in reason else ""
            raise EngineError(f"CUDA driver: {function} failed with {reason}{remedy}")

    def use(self) -> None:
        """Make this device the current one of the calling thread."""
        self._call("cuCtxSetCurrent", self._context)

    def free_bytes(self) -> int:
        """Return how much memory of the device is free; on a Jetson that is memory of the machine."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def allocate(self, size: int) -> int:
        """Return the address of new device memory."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address.value

    def release(self, address: int) -> None:
        """Give device memory back."""
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def allocate_pinned(self, size: int) -> int:
        """Return the address of new host memory that the device can copy from and to by itself."""
        address = ctypes.c_void_p()
        self._call("cuMemHostAlloc", ctypes.byref(address), ctypes.c_size_t(size), ctypes.c_uint(0))
        assert address.value is not None
        return address.value

    def release_pinned(self, address: int) -> None:
        """Give pinned memory back."""
        self._call("cuMemFreeHost", ctypes.c_void_p(address))

    def new_stream(self) -> int:
        """Return a stream that does not wait for the default one, which other libraries use."""
        stream = ctypes.c_void_p()
        self._call("cuStreamCreate", ctypes.byref(stream), ctypes.c_uint(_NON_BLOCKING))
        assert stream.value is not None
        return stream.value

    def wait(self, stream: int) -> None:
        """Return when everything in the stream is done; errors of kernels come up here."""
        self._call("cuStreamSynchronize", ctypes.c_void_p(stream))

    def copy_in(self, device: int, host: int, size: int, stream: int) -> None:
        """Copy from host to device, in the stream."""
        self._call(
            "cuMemcpyHtoDAsync_v2",
            ctypes.c_uint64(device),
            ctypes.c_void_p(host),
            ctypes.c_size_t(size),
            ctypes.c_void_p(stream),
        )

    def copy_out(self, host: int, device: int, size: int, stream: int) -> None:
        """Copy from device to host, in the stream."""
        self._call(
            "cuMemcpyDtoHAsync_v2",
            ctypes.c_void_p(host),
            ctypes.c_uint64(device),
            ctypes.c_size_t(size),
            ctypes.c_void_p(stream),
        )

    def fill_zero(self, device: int, size: int, stream: int) -> None:
        """Fill device memory with zeros, in the stream."""
        self._call(
            "cuMemsetD8Async",
            ctypes.c_uint64(device),
            ctypes.c_ubyte(0),
            ctypes.c_size_t(size),
            ctypes.c_void_p(stream),
        )

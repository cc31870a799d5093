"""Tensors that stay where they are: taken from any library that speaks DLPack, and given to it, without a copy.

An input of an engine is a numpy array or any object with ``__dlpack__`` and ``__dlpack_device__``. Outputs in host
memory are numpy arrays; memory of a device is handed out as a :class:`DeviceTensor`. Imports neither torch nor a
runtime.

Source: the DLPack specification, its C structures of version 0.8 and its Python protocol.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import EngineError

CPU, CUDA, PINNED = 1, 2, 3
_KIND_NAMES = {CPU: "cpu", CUDA: "cuda", PINNED: "pinned host memory"}
_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
_KINDS = {code: kind for kind, code in _CODES.items()}
# A capsule keeps the address of its name, so the names live as long as the module.
_FRESH, _USED = b"dltensor", b"used_dltensor"


class WrongDeviceError(EngineError):
    """An input that lies where the engine cannot read it; the engine itself is all right."""


class SupportsDlpack(Protocol):
    """A tensor of any library."""

    def __dlpack__(self, *, stream: Any = ...) -> Any:
        """Return a capsule."""

    def __dlpack_device__(self) -> tuple[Any, int]:
        """Return kind and number of the device."""


class _Device(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int32), ("index", ctypes.c_int32))


class _Type(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("rank", ctypes.c_int32),
        ("type", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


_DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
# Not on `ctypes.pythonapi` itself: other modules declare the same functions in their own way.
_python = ctypes.PyDLL(None)
_python.PyCapsule_New.restype = ctypes.py_object
_python.PyCapsule_New.argtypes = (ctypes.c_void_p, ctypes.c_char_p, _DELETER)
_python.PyCapsule_IsValid.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
_python.PyCapsule_GetPointer.restype = ctypes.c_void_p
_python.PyCapsule_GetPointer.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
_python.PyCapsule_SetName.argtypes = (ctypes.c_void_p, ctypes.c_char_p)

_given: dict[int, tuple[object, ...]] = {}
"""Address of a tensor that was given away -> what it refers to, until its taker is done with it."""


def _release(address: int) -> None:
    _given.pop(address, None)


def _drop(capsule: int) -> None:
    """A capsule that nobody took goes: so does its tensor."""
    if _python.PyCapsule_IsValid(capsule, _FRESH):
        _release(_python.PyCapsule_GetPointer(capsule, _FRESH))


# Called from C, so they live as long as the module.
_c_release, _c_drop = _DELETER(_release), _DELETER(_drop)


@dataclass(frozen=True, eq=False)
class DeviceTensor:
    """Memory of a device, or of another library.

    Args:
        device: kind of DLPack, `CPU`, `CUDA` or `PINNED`, and number.
        owner: keeps the memory while the tensor lives.
        strides: in bytes; None where the elements lie one after the other in C order.
    """

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device: tuple[int, int]
    owner: object
    strides: tuple[int, ...] | None = None

    @property
    def nbytes(self) -> int:
        """Size of the elements."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def device_name(self) -> str:
        """The device for a message, for example ``cuda:0``."""
        kind, index = self.device
        name = _KIND_NAMES.get(kind, f"device of DLPack kind {kind}")
        return f"{name}:{index}" if kind == CUDA else name

    def array(self) -> NDArray[Any]:
        """Return host memory as an array, without a copy.

        Raises:
            EngineError: it is memory of a device.
        """
        if self.device[0] not in (CPU, PINNED):
            raise EngineError(f"a tensor on {self.device_name} cannot be read on the host; copy it there first")
        # Tensors without elements often have no address either, which numpy would take for nothing at all.
        return np.asarray(_HostView(self)) if self.nbytes else np.empty(self.shape, self.dtype)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: Any = None
    ) -> Any:
        """Return a capsule; the engine has finished with the tensor, so no `stream` has to wait.

        Raises:
            BufferError: a copy, or another device, is asked for.
        """
        if copy or dl_device not in (None, self.device):
            raise BufferError("this tensor is given as it is: without a copy, and on its own device")
        rank = len(self.shape)
        shape = (ctypes.c_int64 * rank)(*self.shape)
        steps = None
        if self.strides is not None:
            steps = (ctypes.c_int64 * rank)(*(stride // self.dtype.itemsize for stride in self.strides))
        managed = _Managed()
        tensor = managed.tensor
        tensor.data, tensor.device, tensor.rank = self.address, _Device(*self.device), rank
        tensor.type = _Type(_CODES[self.dtype.kind], 8 * self.dtype.itemsize, 1)
        tensor.shape = ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64))
        if steps is not None:
            tensor.strides = ctypes.cast(steps, ctypes.POINTER(ctypes.c_int64))
        managed.deleter = ctypes.cast(_c_release, ctypes.c_void_p).value
        address = ctypes.addressof(managed)
        _given[address] = (managed, shape, steps, self)
        return _python.PyCapsule_New(address, _FRESH, _c_drop)


class _HostView:
    """What numpy needs to show memory as an array, which then keeps its owner."""

    def __init__(self, tensor: DeviceTensor) -> None:
        self._tensor = tensor
        self.__array_interface__ = {
            "version": 3,
            "shape": tensor.shape,
            "typestr": tensor.dtype.str,
            "data": (tensor.address, False),
            "strides": tensor.strides,
        }


class _Taken:
    """Memory that another library gave us; it is told when we are done with it."""

    def __init__(self, address: int) -> None:
        self.managed = _Managed.from_address(address)
        self._address = address

    def __del__(self) -> None:
        if self.managed.deleter:
            _DELETER(self.managed.deleter)(self._address)


def take(name: str, value: NDArray[Any] | SupportsDlpack, stream: int | None = None) -> NDArray[Any] | DeviceTensor:
    """Return an input as it is if it is an array, else the memory behind its DLPack capsule.

    Args:
        name: of the input, for the error.
        stream: of CUDA, in which the tensor will be read; its library lets that wait for its own work.

    Raises:
        EngineError: it is neither, or its library does not give it.
    """
    if isinstance(value, np.ndarray | DeviceTensor):
        return value
    if not hasattr(value, "__dlpack__") or not hasattr(value, "__dlpack_device__"):
        raise EngineError(
            f"engine input '{name}' is a {type(value).__name__}; expected a numpy array, or a tensor of a library that "
            "speaks DLPack"
        )
    tensor = cast("SupportsDlpack", value)
    kind, _ = tensor.__dlpack_device__()
    try:
        capsule = tensor.__dlpack__(stream=stream) if int(kind) == CUDA else tensor.__dlpack__()
    except Exception as error:  # each library has errors of its own
        raise EngineError(
            f"engine input '{name}': its library does not give the {type(value).__name__} away "
            f"({' '.join(str(error).split())[:200]}); give a copy of it"
        ) from None
    if not _python.PyCapsule_IsValid(id(capsule), _FRESH):
        raise EngineError(f"engine input '{name}': its capsule of DLPack is not a fresh one; expected 'dltensor'")
    address = _python.PyCapsule_GetPointer(id(capsule), _FRESH)
    _python.PyCapsule_SetName(id(capsule), _USED)
    return _tensor_of(name, _Taken(address))


def host_array(name: str, value: NDArray[Any] | DeviceTensor) -> NDArray[Any]:
    """Return an input as an array without a copy, for a backend that reads host memory.

    Raises:
        WrongDeviceError: it lies on a device.
    """
    if isinstance(value, np.ndarray):
        return value
    if value.device[0] not in (CPU, PINNED):
        raise WrongDeviceError(
            f"engine input '{name}' lies on {value.device_name}, where this engine does not compute; copy it to host "
            "memory, or let engine.backend and engine.device name that device"
        )
    return value.array()


def take_all(
    inputs: Mapping[str, NDArray[Any] | SupportsDlpack], stream: int | None = None
) -> dict[str, NDArray[Any] | DeviceTensor]:
    """Return all inputs as :func:`take` does."""
    return {name: take(name, value, stream) for name, value in inputs.items()}


def _tensor_of(name: str, taken: _Taken) -> DeviceTensor:
    tensor = taken.managed.tensor
    kind, bits = _KINDS.get(tensor.type.code), tensor.type.bits
    if kind is None or tensor.type.lanes != 1 or bits not in (8, 16, 32, 64) or (kind == "f" and bits == 8):
        raise EngineError(
            f"engine input '{name}' has elements of DLPack code {tensor.type.code} with {bits} bits; expected a type "
            "that numpy knows, for example float32"
        )
    dtype = np.dtype(f"{kind}{bits // 8}")
    shape = tuple(tensor.shape[axis] for axis in range(tensor.rank))
    strides = None
    if tensor.strides:
        steps = tuple(tensor.strides[axis] for axis in range(tensor.rank))
        if not _is_contiguous(shape, steps):
            strides = tuple(step * dtype.itemsize for step in steps)
    address = cast("int", tensor.data or 0) + tensor.byte_offset
    return DeviceTensor(address, shape, dtype, (tensor.device.kind, tensor.device.index), taken, strides)


def _is_contiguous(shape: tuple[int, ...], steps: tuple[int, ...]) -> bool:
    expected = 1
    for size, step in zip(reversed(shape), reversed(steps), strict=True):
        if size != 1 and step != expected:
            return 0 in shape
        expected *= size
    return True

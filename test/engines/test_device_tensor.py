"""Tensors of other libraries are read, and memory of engines is given away, where they lie."""

from __future__ import annotations

import ctypes
import gc
import weakref
from typing import Any

import numpy as np
import pytest

from lift3d_ros.engines.device_tensor import CPU, CUDA, PINNED, DeviceTensor, host_array, take
from lift3d_ros.errors import EngineError


class Owner:
    """Stands for whatever keeps the memory."""


class Foreign:
    """A tensor of a library that knows nothing of numpy."""

    def __init__(self, array: Any, device: tuple[int, int] = (CPU, 0)) -> None:
        self.tensor = DeviceTensor(array.ctypes.data, array.shape, array.dtype, device, array, array.strides)
        self.streams: list[Any] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.tensor.device

    def __dlpack__(self, *, stream: Any = None) -> Any:
        self.streams.append(stream)
        return self.tensor.__dlpack__()


def taken(value: Any, stream: int | None = None) -> DeviceTensor:
    found = take("x", value, stream)
    assert isinstance(found, DeviceTensor)
    return found


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int32", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (1, 4, 1)])
def test_a_tensor_keeps_address_shape_and_type_on_the_way_out_and_in(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, dtype)
    found = taken(Foreign(array))
    assert (found.address, found.shape, found.dtype, found.strides) == (array.ctypes.data, shape, array.dtype, None)
    assert found.array().ctypes.data == array.ctypes.data
    np.testing.assert_array_equal(found.array(), array)


def test_arrays_pass_as_they_are_and_empty_tensors_have_no_address() -> None:
    array = np.zeros(3)
    assert take("x", array) is array
    assert taken(Foreign(np.zeros((0, 3), np.float32))).array().shape == (0, 3)


def test_a_transposed_tensor_is_seen_transposed() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = taken(Foreign(array.T))
    assert found.strides == (4, 12)
    np.testing.assert_array_equal(found.array(), array.T)


def test_torch_and_numpy_take_the_same_memory_and_give_it_back() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    array, owner = np.arange(6, dtype=np.float32).reshape(2, 3), Owner()
    is_kept = weakref.ref(owner)
    tensor: Any = DeviceTensor(array.ctypes.data, array.shape, array.dtype, (CPU, 0), owner)
    del owner
    there = torch.from_dlpack(tensor)
    assert there.data_ptr() == array.ctypes.data
    back = taken(there)
    del tensor, there
    gc.collect()
    assert is_kept() is not None  # torch's tensor is gone, and its memory is still in use
    np.testing.assert_array_equal(back.array(), array)
    view = np.from_dlpack(back)  # type: ignore[arg-type]
    assert view.ctypes.data == array.ctypes.data
    del back, view
    gc.collect()
    assert is_kept() is None


def test_a_capsule_that_nobody_takes_keeps_nothing() -> None:
    owner = Owner()
    is_kept = weakref.ref(owner)
    capsule = DeviceTensor(8, (1,), np.dtype("float32"), (CPU, 0), owner).__dlpack__()
    del owner
    gc.collect()
    assert is_kept() is not None
    del capsule
    gc.collect()
    assert is_kept() is None


def test_a_device_is_told_in_which_stream_its_tensor_will_be_read() -> None:
    on_gpu, on_host = Foreign(np.zeros(3), (CUDA, 1)), Foreign(np.zeros(3))
    assert taken(on_gpu, 77).device == (CUDA, 1)
    assert taken(on_host, 77).device == (CPU, 0)
    assert (on_gpu.streams, on_host.streams) == ([77], [None])


def test_memory_of_a_device_is_never_read_on_the_host() -> None:
    tensor = DeviceTensor(8, (1,), np.dtype("float32"), (CUDA, 1), None)
    with pytest.raises(EngineError, match="a tensor on cuda:1 cannot be read on the host"):
        tensor.array()
    with pytest.raises(EngineError, match=r"'x' lies on cuda:1, where this engine does not compute; copy it to"):
        host_array("x", tensor)
    with pytest.raises(BufferError, match="without a copy"):
        tensor.__dlpack__(copy=True)
    block = (ctypes.c_float * 2)(1.0, 2.0)
    pinned = DeviceTensor(ctypes.addressof(block), (2,), np.dtype("float32"), (PINNED, 0), block)
    assert host_array("x", pinned).tolist() == [1.0, 2.0]


def test_what_is_no_tensor_and_types_without_a_name_in_numpy_are_refused_by_name() -> None:
    with pytest.raises(EngineError, match="'x' is a list; expected a numpy array, or a tensor of a library"):
        take("x", [1.0])  # type: ignore[arg-type]
    torch = pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(EngineError, match="'x' has elements of DLPack code 4 with 16 bits"):
        take("x", torch.zeros(3, dtype=torch.bfloat16))
    with pytest.raises(EngineError, match=r"'x': its library does not give the Tensor away .*gradient.*give a copy"):
        take("x", torch.zeros(3, requires_grad=True))

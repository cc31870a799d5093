"""Bias, shortcut and ReLU6 in one pass are what they are one after the other; only a GPU needs the kernel."""

from __future__ import annotations

import os

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is defined

from torch import Tensor  # noqa: E402

from lift3d_ros.ops.channel_bias import Implementation, add_bias_  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def maps(channels: int, size: tuple[int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(channels)
    x, shortcut = (
        (4 * torch.randn(3, channels, *size, generator=generator)).to(DEVICE, dtype, memory_format=torch.channels_last)
        for _ in range(2)
    )
    return x, 3 * torch.randn(channels, generator=generator).to(DEVICE), shortcut


def implementations() -> list[object]:
    try:
        import triton  # noqa: F401
    except ImportError:
        skip = pytest.mark.skip(reason="triton is not installed; it comes with torch for CUDA")
        return ["torch", pytest.param("triton", marks=skip)]
    return ["torch", "triton"]


@pytest.mark.parametrize("implementation", implementations())
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(("has_shortcut", "is_clamped"), [(False, True), (True, False), (False, False), (True, True)])
@pytest.mark.parametrize(("channels", "size"), [(24, (13, 9)), (7, (3, 5)), (1, (1, 1)), (3000, (2, 1))])
def test_sums_are_those_of_float64(
    implementation: Implementation,
    dtype: torch.dtype,
    has_shortcut: bool,
    is_clamped: bool,
    channels: int,
    size: tuple[int, int],
) -> None:
    x, bias, shortcut = maps(channels, size, dtype)
    expected = x.double() + bias.double()[:, None, None] + (shortcut.double() if has_shortcut else 0.0)
    expected = expected.clamp(0.0, 6.0) if is_clamped else expected
    found = add_bias_(x, bias, shortcut if has_shortcut else None, is_clamped=is_clamped, implementation=implementation)
    assert found is x
    # Triton's interpreter cuts numbers to bfloat16, a GPU rounds them.
    rounding = 1e-6 if dtype == torch.float32 else torch.finfo(dtype).eps / (2 if DEVICE == "cuda" else 1)
    if implementation == "torch" and dtype == torch.bfloat16:
        rounding = 0.05  # after each addition
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("implementation", implementations())
def test_nan_stays_and_nothing_comes_of_nothing(implementation: Implementation) -> None:
    x, bias, _ = maps(8, (2, 2), torch.float32)
    x[1, 3, 0, 1] = torch.nan
    add_bias_(x, bias, is_clamped=True, implementation=implementation)
    assert x.isnan().nonzero().tolist() == [[1, 3, 0, 1]]
    assert add_bias_(x[:0], bias, implementation=implementation).shape == (0, 8, 2, 2)


def test_maps_in_another_order_or_type_are_taken_as_well() -> None:
    x, bias, shortcut = maps(8, (5, 4), torch.float32)
    expected = x + bias[:, None, None] + shortcut
    torch.testing.assert_close(add_bias_(x.contiguous(), bias, shortcut.contiguous()), expected)
    torch.testing.assert_close(add_bias_(x.double(), bias, shortcut.double()), expected.double(), rtol=1e-5, atol=1e-5)


def test_shapes_that_do_not_fit_are_refused() -> None:
    x, bias, shortcut = maps(8, (5, 4), torch.float32)
    with pytest.raises(ValueError, match="do not fit"):
        add_bias_(x, bias[1:])
    with pytest.raises(ValueError, match="do not fit"):
        add_bias_(x, bias, shortcut[:1])

"""Deformable convolution equals a loop over its definition, and a plain convolution where nothing is displaced."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.ops.deformable_convolution import DeformableConv2d, deformable_conv2d  # noqa: E402


def inputs(
    *, batch: int = 2, channels: int = 4, out_channels: int = 6, size: tuple[int, int] = (5, 6), kernel: Any = (3, 3),
    stride: int = 1, padding: int = 1, groups: int = 1, has_mask: bool = True,
) -> dict[str, Any]:  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    height, width = ((extent + 2 * padding - k) // stride + 1 for extent, k in zip(size, kernel, strict=True))
    taps = kernel[0] * kernel[1]

    def random(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return {
        "x": random(batch, channels, *size),
        "weight": random(out_channels, channels // groups, *kernel),
        "offsets": random(batch, 2 * taps, height, width) * 1.5,
        "mask": torch.rand(batch, taps, height, width, generator=generator, dtype=torch.float64) if has_mask else None,
        "stride": stride,
        "padding": padding,
        "groups": groups,
    }


def pixel(image: Any, row: int, column: int) -> float:
    height, width = image.shape
    return float(image[row, column]) if 0 <= row < height and 0 <= column < width else 0.0


def bilinear(image: Any, y: float, x: float) -> float:
    top, left = math.floor(y), math.floor(x)
    fy, fx = y - top, x - left
    upper = (1 - fx) * pixel(image, top, left) + fx * pixel(image, top, left + 1)
    lower = (1 - fx) * pixel(image, top + 1, left) + fx * pixel(image, top + 1, left + 1)
    return (1 - fy) * upper + fy * lower


def by_definition(x: Any, weight: Any, offsets: Any, mask: Any, stride: int, padding: int, groups: int) -> Any:
    """Add up weight x mask x value of every tap of every output pixel, one after the other."""
    batch, (out_channels, group_channels, kernel_height, kernel_width) = x.shape[0], weight.shape
    output = torch.zeros(batch, out_channels, *offsets.shape[2:], dtype=x.dtype)
    for b, out, row, column in (index for index in torch.cartesian_prod(*map(torch.arange, output.shape)).tolist()):
        first = out // (out_channels // groups) * group_channels
        for i in range(kernel_height):
            for j in range(kernel_width):
                tap = i * kernel_width + j
                y = row * stride - padding + i + float(offsets[b, 2 * tap, row, column])
                x_position = column * stride - padding + j + float(offsets[b, 2 * tap + 1, row, column])
                factor = 1.0 if mask is None else float(mask[b, tap, row, column])
                for channel in range(group_channels):
                    read = bilinear(x[b, first + channel], y, x_position)
                    output[b, out, row, column] += weight[out, channel, i, j] * factor * read
    return output


CASES = [
    pytest.param({}, id="with mask"),
    pytest.param({"has_mask": False}, id="without mask"),
    pytest.param({"groups": 2, "has_mask": False}, id="groups"),
    pytest.param({"stride": 2}, id="stride 2"),
    pytest.param({"padding": 0}, id="no padding"),
    pytest.param({"kernel": (1, 1), "padding": 0}, id="1x1"),
    pytest.param({"kernel": (2, 3), "batch": 1, "channels": 1, "out_channels": 1}, id="2x3"),
    pytest.param({"size": (1, 1), "batch": 1}, id="one pixel"),
]


@pytest.mark.parametrize("case", CASES)
def test_equals_the_sum_over_displaced_taps(case: dict[str, Any]) -> None:
    arguments = inputs(**{"channels": 2, "out_channels": 2, "size": (4, 3), **case})
    torch.testing.assert_close(deformable_conv2d(**arguments), by_definition(**arguments))


@pytest.mark.parametrize("groups", [1, 2])
def test_without_displacement_it_is_a_plain_convolution(groups: int) -> None:
    arguments = inputs(groups=groups, stride=2, size=(9, 8))
    arguments["offsets"].zero_()
    arguments["mask"].fill_(1.0)
    expected = torch.nn.functional.conv2d(arguments["x"], arguments["weight"], stride=2, padding=1, groups=groups)
    torch.testing.assert_close(deformable_conv2d(**arguments), expected)


def test_taps_far_outside_read_zero() -> None:
    arguments = inputs()
    arguments["offsets"].fill_(1e6)
    assert (deformable_conv2d(**arguments) == 0).all()


@pytest.mark.parametrize("has_mask", [True, False])
def test_all_gradients_agree_with_finite_differences(has_mask: bool) -> None:
    arguments = inputs(batch=1, channels=2, out_channels=2, size=(3, 3), groups=2, has_mask=has_mask)
    names = ["x", "weight", "offsets", *(["mask"] if has_mask else [])]
    tensors = [arguments[name].requires_grad_() for name in names]
    assert torch.autograd.gradcheck(
        lambda *found: deformable_conv2d(**{**arguments, **dict(zip(names, found, strict=True))}), tensors, atol=1e-6
    )


def test_batch_items_one_after_the_other_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = inputs(batch=3)
    expected = deformable_conv2d(**arguments)
    monkeypatch.setattr("lift3d_ros.ops.deformable_convolution._CHUNK_BYTES", 1)
    torch.testing.assert_close(deformable_conv2d(**arguments), expected)


@pytest.mark.parametrize(("dtype", "bound"), [("float16", 2e-3), ("bfloat16", 1.5e-2)])
def test_16_bit_features_are_sampled_at_exact_places(dtype: str, bound: float) -> None:
    """Places in 16 bits would be wrong by a tenth of a pixel and more at this size."""
    arguments = inputs(batch=1, channels=16, size=(20, 400))
    expected = deformable_conv2d(**arguments)
    half = {name: arguments[name].to(getattr(torch, dtype)) for name in ("x", "weight", "mask")}
    found = deformable_conv2d(**{**arguments, **half, "offsets": arguments["offsets"].float()})
    assert found.dtype == half["x"].dtype
    assert (found.double() - expected).square().mean().sqrt() < bound * expected.square().mean().sqrt()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"offsets": torch.zeros(2, 18, 5, 5)}, r"offsets has shape \(2, 18, 5, 5\); expected", id="size"),
        pytest.param({"mask": torch.zeros(2, 8, 5, 6)}, r"mask has shape .* expected \(2, 9, 5, 6\)", id="taps"),
        pytest.param({"groups": 2}, "does not fit 4 channels in 2 groups", id="groups"),
    ],
)
def test_arguments_that_do_not_fit_together_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        deformable_conv2d(**{**inputs(), **change})


@pytest.mark.parametrize("is_modulated", [True, False])
def test_the_module_predicts_offsets_and_mask_from_its_input(is_modulated: bool) -> None:
    module = DeformableConv2d(4, 6, 3, 2, 1, 2, is_modulated=is_modulated).double()
    names = {"weight": (6, 2, 3, 3), "conv_offset.weight": ((27 if is_modulated else 18), 4, 3, 3)}
    state = module.state_dict()
    assert {name: tuple(state[name].shape) for name in names} == names
    assert set(state) == {*names, "conv_offset.bias"}
    x = inputs(size=(7, 9))["x"]
    plain = torch.nn.functional.conv2d(x, module.weight, stride=2, padding=1, groups=2)
    torch.testing.assert_close(module(x), plain * (0.5 if is_modulated else 1.0))
    torch.nn.init.normal_(module.conv_offset.weight, generator=torch.Generator().manual_seed(1))
    predicted = module.conv_offset(x)
    mask = predicted[:, 18:].sigmoid() if is_modulated else None
    expected = deformable_conv2d(x, module.weight, predicted[:, :18], mask, 2, 1, 2)
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("is_modulated", [True, False])
def test_the_graph_gives_the_same_without_a_node_of_that_name(tmp_path: Path, is_modulated: bool) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    ort = pytest.importorskip("onnxruntime")
    module = DeformableConv2d(4, 6, 3, 1, 1, 2, is_modulated=is_modulated).eval()
    torch.nn.init.normal_(module.conv_offset.weight, std=0.2, generator=torch.Generator().manual_seed(1))
    x = inputs(size=(7, 9))["x"].float()
    path = tmp_path / "graph.onnx"
    torch.onnx.export(
        module, (x,), str(path), input_names=["x"], opset_version=20, dynamo=True, external_data=False, verbose=False
    )
    operators = [node.op_type for node in onnx.load(str(path)).graph.node]
    assert operators.count("GridSample") == 1
    assert not {"DeformConv", "ScatterND", "GatherND", "Loop"} & set(operators)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(None, {"x": x.numpy()})[0])
    torch.testing.assert_close(found, module(x), atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_with_its_gradients() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    results = []
    for device in ("cpu", "cuda"):
        arguments = inputs(groups=2)
        tensors = {n: arguments[n].to(device).requires_grad_() for n in ("x", "weight", "offsets", "mask")}
        found = deformable_conv2d(**{**arguments, **tensors})
        found.square().sum().backward()
        results.append([found, *(tensor.grad for tensor in tensors.values())])
    for cpu, gpu in zip(*results, strict=True):
        torch.testing.assert_close(gpu.cpu(), cpu)

"""Graphs in 16 bit keep their inputs and outputs, hold half the weights, and leave coordinates in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from lift3d_ros.engines.mixed_precision import to_mixed_precision, to_rounded_precision  # noqa: E402
from lift3d_ros.errors import EngineError  # noqa: E402

FLOAT, HALF, BF16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Return a graph: two convolutions with a residual sum, and points that go through a matrix of a camera."""
    helper, rng = onnx.helper, np.random.default_rng(0)
    kernels = rng.standard_normal((4, 4, 3, 3)).astype(np.float32) * 0.2
    nodes = [
        helper.make_node("Conv", ["image", "kernels"], ["a"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "kernels"], ["c"], name="second", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["b", "c"], ["d"], name="residual"),
        helper.make_node("Sigmoid", ["d"], ["scores"], name="scores"),
        helper.make_node("MatMul", ["camera", "points"], ["pixels"], name="projection"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "network",
        [value("image", FLOAT, [1, 4, 8, 8]), value("camera", FLOAT, [4, 4])],
        [value("scores", FLOAT, [1, 4, 8, 8]), value("pixels", FLOAT, [4, 100])],
        [
            onnx.numpy_helper.from_array(kernels, "kernels"),
            onnx.numpy_helper.from_array(rng.standard_normal((4, 100)).astype(np.float32), "points"),
        ],
    )
    path = tmp_path / "network.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), str(path))
    return path


@pytest.mark.parametrize(("precision", "kind"), [("float16", HALF), ("bfloat16", BF16)])
def test_layers_and_what_follows_them_compute_in_16_bit_and_the_rest_does_not(
    network: Path, precision: str, kind: int
) -> None:
    data, layers = to_mixed_precision(network, precision)
    model = onnx.load_from_string(data)
    if kind == HALF:  # TensorRT takes convolutions in bfloat16; the definition of ONNX has them only from opset 22 on
        onnx.checker.check_model(model, full_check=True)
    assert layers == 2
    casts = {entry.output[0]: entry.attribute[0].i for entry in model.graph.node if entry.op_type == "Cast"}
    assert casts == {"image__16bit": kind, "d": FLOAT}  # in and out, none between the layers
    inputs = {entry.name: list(entry.input) for entry in model.graph.node}
    assert inputs["residual"] == ["b__16bit", "c__16bit"]
    assert inputs["projection"] == ["camera", "points"]
    assert [(output.name, output.type.tensor_type.elem_type) for output in model.graph.output] == [
        ("scores", FLOAT),
        ("pixels", FLOAT),
    ]
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert kinds == {"kernels__16bit": kind, "points": FLOAT}  # weights once, in 16 bit only


def test_the_result_is_that_of_float32_within_rounding(network: Path, tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    feeds = {
        "image": np.random.default_rng(1).standard_normal((1, 4, 8, 8)).astype(np.float32),
        "camera": np.random.default_rng(2).standard_normal((4, 4)).astype(np.float32),
    }
    data, _ = to_mixed_precision(network, "float16")
    expected = ort.InferenceSession(str(network), providers=["CPUExecutionProvider"]).run(None, feeds)
    found = ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, feeds)
    assert 0.0 < np.abs(found[0] - expected[0]).max() < 2e-3
    np.testing.assert_array_equal(found[1], expected[1])


def test_bfloat16_weights_are_rounded_to_the_nearest(network: Path) -> None:
    torch = pytest.importorskip("torch")
    model = onnx.load(str(network))
    (before,) = (onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name == "kernels")
    converted = onnx.load_from_string(to_mixed_precision(network, "bfloat16")[0])
    (after,) = (t for t in converted.graph.initializer if t.name == "kernels__16bit")
    bits = np.frombuffer(after.raw_data, np.uint16).astype(np.uint32) << 16
    expected = torch.from_numpy(before.copy()).bfloat16().float().numpy()
    np.testing.assert_array_equal(bits.view(np.float32).reshape(before.shape), expected)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_rounding_in_float32_is_that_of_a_16_bit_type(tmp_path: Path, precision: str) -> None:
    ort = pytest.importorskip("onnxruntime")
    torch = pytest.importorskip("torch")
    helper = onnx.helper
    identity = onnx.numpy_helper.from_array(np.eye(32, dtype=np.float32), "identity")
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "identity"], ["y"], name="linear")],
        "rounding",
        [value("x", FLOAT, ["n", 32])],
        [value("y", FLOAT, ["n", 32])],
        [identity],
    )
    path = tmp_path / "rounding.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), str(path))
    data, layers = to_rounded_precision(path, precision)
    assert layers == 1
    rows = np.random.default_rng(0).standard_normal((200, 32)).astype(np.float32)
    rows[0, :3] = 0.0, 1.0 + 2.0**-11, 1.0 + 3 * 2.0**-11  # ties
    (found,) = ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": rows})
    kept = np.abs(rows) > 1e-4  # below, float16 has fewer digits
    expected = torch.from_numpy(rows).to(getattr(torch, precision)).float().numpy()
    np.testing.assert_array_equal(found[kept], expected[kept])


def test_a_graph_in_16_bit_on_a_cpu_hides_the_rounding_of_activations(network: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    feeds = {
        "image": np.random.default_rng(1).standard_normal((1, 4, 8, 8)).astype(np.float32),
        "camera": np.eye(4, dtype=np.float32),
    }

    def scores(source: str | bytes) -> NDArray[Any]:
        return np.asarray(ort.InferenceSession(source, providers=["CPUExecutionProvider"]).run(None, feeds)[0])

    exact = scores(str(network))
    rounded = np.abs(scores(to_rounded_precision(network, "float16")[0]) - exact).mean()
    cast = np.abs(scores(to_mixed_precision(network, "float16")[0]) - exact).mean()
    assert 0.0 < cast < rounded < 2e-3


def test_a_graph_without_layers_is_refused(network: Path, tmp_path: Path) -> None:
    model = onnx.load(str(network))
    kept = [node for node in model.graph.node if node.name == "projection"]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    onnx.save(model, str(tmp_path / "plain.onnx"))
    with pytest.raises(EngineError, match=r"plain\.onnx: has no convolution or linear layer to run in float16"):
        to_mixed_precision(tmp_path / "plain.onnx", "float16")

"""Quantised graphs have the form that TensorRT takes, keep tensors and facts, and stay near float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from mixer_graph import MIXER_SIGNATURE, mixer_inputs  # noqa: E402

from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine  # noqa: E402
from lift3d_ros.engines.quantization import GraphQuantizer, LayerGroup, quantized_layers  # noqa: E402
from lift3d_ros.errors import EngineError  # noqa: E402

FEEDS = [{**mixer_inputs(rows), "sum_before": np.zeros(8, np.float32)} for rows in (4, 16)]


@pytest.fixture
def quantizer(mixer: Path) -> GraphQuantizer:
    return GraphQuantizer(mixer, FEEDS)


def test_layers_without_the_name_of_a_module_are_one_part(quantizer: GraphQuantizer) -> None:
    assert quantizer.groups == (LayerGroup("network", ("linear",)),)


def test_inputs_and_weights_are_int8_symmetric_and_outputs_and_biases_stay(
    quantizer: GraphQuantizer, tmp_path: Path
) -> None:
    path = tmp_path / "int8.onnx"
    path.write_bytes(quantizer.quantize(quantizer.groups))
    graph = onnx.load(str(path)).graph
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("QuantizeLinear") == 1  # of what goes in; weights lie in the file as int8
    assert kinds.count("DequantizeLinear") == 2
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = weights[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
    (scale,) = (weights[node.input[1]] for node in graph.node if node.input[0] in weights and "Dequant" in node.op_type)
    assert scale.shape == (8,)  # one for each channel
    assert quantized_layers(path) == 1


def test_the_graph_opens_as_before_and_says_what_is_quantised(
    quantizer: GraphQuantizer, mixer: Path, tmp_path: Path
) -> None:
    path = tmp_path / "int8.onnx"
    path.write_bytes(quantizer.quantize(quantizer.groups))
    engine, reference = OnnxRuntimeEngine(path, 1), OnnxRuntimeEngine(mixer, 1)
    assert engine.signature == MIXER_SIGNATURE
    assert engine.facts == {"name": "mixer", "quantization": {"layers": 1, "of": 1, "float": []}}
    found, expected = (one.run(mixer_inputs(), one.new_state())["mixed"] for one in (engine, reference))
    error = np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2))
    assert 1e-4 < error < 2e-2


def test_without_parts_the_graph_stays_as_it_is(quantizer: GraphQuantizer, mixer: Path, tmp_path: Path) -> None:
    path = tmp_path / "same.onnx"
    path.write_bytes(quantizer.quantize(()))
    engine, reference = OnnxRuntimeEngine(path, 1), OnnxRuntimeEngine(mixer, 1)
    assert quantized_layers(path) == 0
    assert engine.facts["quantization"]["float"] == ["network"]
    found, expected = (one.run(mixer_inputs(), one.new_state())["mixed"] for one in (engine, reference))
    np.testing.assert_array_equal(found, expected)


def test_no_data_and_a_graph_that_is_quantised_already_are_refused(
    quantizer: GraphQuantizer, mixer: Path, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match=r"quantising mixer\.onnx: no calibration data"):
        GraphQuantizer(mixer, [])
    path = tmp_path / "int8.onnx"
    path.write_bytes(quantizer.quantize(quantizer.groups))
    with pytest.raises(EngineError, match="is quantised already; give the float32 graph"):
        GraphQuantizer(path, FEEDS)


def test_neighbouring_parts_are_joined_until_there_are_few_enough(tmp_path: Path) -> None:
    path = tmp_path / "chain.onnx"
    write_chain(path, ["stem", "blocks.0.first", "blocks.0.second", "blocks.1.first", "head"])
    feeds = [{"rows": np.random.default_rng(0).standard_normal((4, 32)).astype(np.float32)}]
    assert [group.name for group in GraphQuantizer(path, feeds).groups] == ["stem", "blocks.0", "blocks.1", "head"]
    joined = GraphQuantizer(path, feeds, 2).groups
    assert [(group.name, len(group.nodes)) for group in joined] == [("stem to blocks.0", 3), ("blocks.1 to head", 2)]


def write_chain(path: Path, modules: list[str]) -> None:
    """Write linear layers one after the other, each with the name of the module that it comes from."""
    helper, nodes, weights = onnx.helper, [], []
    for number, module in enumerate(modules):
        last = number == len(modules) - 1
        node = helper.make_node(
            "MatMul", [f"x{number}" if number else "rows", f"w{number}"], ["y" if last else f"x{number + 1}"],
            name=f"layer{number}",
        )  # fmt: skip
        entry = node.metadata_props.add()
        entry.key, entry.value = "pkg.torch.onnx.name_scopes", str(["", module, "linear"])
        nodes.append(node)
        weights.append(onnx.numpy_helper.from_array(np.eye(32, dtype=np.float32), f"w{number}"))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "chain", [value("rows", 1, ["n", 32])], [value("y", 1, ["n", 32])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), str(path))

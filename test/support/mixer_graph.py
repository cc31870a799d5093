"""A small graph with weights, a state and a free size, its inputs, and the sizes that engines of it are built for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from lift3d_ros.engines.onnxruntime_engine import FACTS_KEY, SIGNATURE_KEY
from lift3d_ros.engines.protocol import EngineSignature, StateSpec, TensorSpec

MIXER_SIGNATURE = EngineSignature(
    inputs=(TensorSpec("rows", (None, 64)), TensorSpec("offset", (1,), "int64")),
    outputs=(TensorSpec("mixed", (None, 8)),),
    states=(StateSpec("sum_before", "sum_after", (8,)),),
)
MIXER_PROFILE = {"rows": ((1, 64), (4, 64), (16, 64))}


def write_mixer(path: Path) -> None:
    """Write a graph: rows @ weights + offset + what the runs before have summed up."""
    helper, kinds = onnx.helper, onnx.TensorProto
    weights = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["rows", "weights"], ["products"], name="linear"),
        helper.make_node("Cast", ["offset"], ["shift"], name="cast", to=kinds.FLOAT),
        helper.make_node("Add", ["products", "shift"], ["shifted"], name="shift"),
        helper.make_node("Add", ["shifted", "sum_before"], ["mixed"], name="carry"),
        helper.make_node("ReduceSum", ["mixed", "first_axis"], ["sum_after"], name="sum", keepdims=0),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "mixer",
        [value("rows", 1, ["n", 64]), value("offset", 7, [1]), value("sum_before", 1, [8])],
        [value("mixed", 1, ["n", 8]), value("sum_after", 1, [8])],
        [
            onnx.numpy_helper.from_array(weights, "weights"),
            onnx.numpy_helper.from_array(np.zeros(1, np.int64), "first_axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    for key, document in ((SIGNATURE_KEY, MIXER_SIGNATURE.to_json()), (FACTS_KEY, {"name": "mixer"})):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, json.dumps(document)
    onnx.save(model, str(path))


def mixer_inputs(rows: int = 4, offset: int = 1) -> dict[str, Any]:
    values = np.random.default_rng(rows).standard_normal((rows, 64)).astype(np.float32)
    return {"rows": values, "offset": np.array([offset], np.int64)}

"""Exported graphs hold only operators that TensorRT 10.3 and TensorRT-RTX take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from lift3d_ros.engines.tensorrt_operators import REFUSED_BY_RTX, SUPPORTED, UNDATED, check_operators  # noqa: E402
from lift3d_ros.errors import EngineError  # noqa: E402

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def write(path: Path, *nodes: Any, opset: int = 20, constants: dict[str, int] | None = None) -> Path:
    weights = [onnx.helper.make_tensor(name, INT64, [1], [value]) for name, value in (constants or {}).items()]
    graph = onnx.helper.make_graph(list(nodes), "graph", [], [], weights)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)]), str(path))
    return path


def node(operator: str, *inputs: str, outputs: tuple[str, ...] = ("y",), **attributes: Any) -> Any:
    return onnx.helper.make_node(operator, list(inputs), list(outputs), name=f"the {operator}", **attributes)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (node("SequenceEmpty"), "not among the operators"),
        (node("Attention", "q", "k", "v"), "not among the operators"),
        (node("NonZero", "x"), "was refused when tried (tensorrt_rtx)"),
        (node("Fused", "x", domain="my.ops"), "domain 'my.ops' needs a plugin"),
        (node("ScatterND", "x", "i", "u", reduction="add"), "only without reduction; gather by an inverse table"),
        (node("MaxPool", "x", outputs=("y", "indices"), kernel_shape=[2, 2]), "indices are not given"),
        (node("Resize", "x", "", "s", antialias=1), "only without antialias"),
        (node("TopK", "x", "large"), "K is 5000; at most 3840"),
        (node("ReduceSum", "x", "axes"), "axes must be constants"),
        (node("LayerNormalization", "x", "w", outputs=("y", "mean")), "only the first output"),
    ],
    ids=lambda value: value.op_type if hasattr(value, "op_type") else "",
)
def test_what_is_not_taken_is_named_with_its_node_and_the_reason(tmp_path: Path, bad: Any, words: str) -> None:
    report = check_operators(write(tmp_path / "g.onnx", node("Relu", "x"), bad, constants={"large": 5000}))
    (problem,) = report.problems
    assert words in str(problem)
    assert f"'the {bad.op_type}'" in str(problem)


def test_what_is_taken_is_counted(tmp_path: Path) -> None:
    graph = write(
        tmp_path / "g.onnx",
        node("Relu", "x"),
        node("Relu", "y"),
        node("ScatterND", "x", "i", "u"),
        node("TopK", "x", "k"),
        node("ReduceSum", "x", "k"),
        node("Gelu", "x"),
        constants={"k": 300},
    )
    report = check_operators(graph)
    assert report.operators == {"Gelu": 1, "ReduceSum": 1, "Relu": 2, "ScatterND": 1, "TopK": 1}
    assert (report.problems, report.undated) == ((), ("Gelu",))


def test_an_opset_that_release_10_3_does_not_read_is_a_problem(tmp_path: Path) -> None:
    (problem,) = check_operators(write(tmp_path / "g.onnx", node("Relu", "x"), opset=23)).problems
    assert "opset 23; release 10.3 reads up to 20" in str(problem)


def test_a_file_that_is_no_graph_is_named(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"\xff\xff not a graph")
    with pytest.raises(EngineError, match=r"no\.onnx: is no ONNX graph"):
        check_operators(tmp_path / "no.onnx")


def test_the_tables_name_operators_of_onnx() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    assert SUPPORTED - known == set()
    assert known >= REFUSED_BY_RTX
    assert UNDATED <= SUPPORTED

"""The ONNX operators that TensorRT takes, and the check of an exported graph against them; imports onnx when called.

The list is that of the ONNX parser's documentation (onnx-tensorrt, docs/operators.md of release 10.15) without what its
change log dates after 10.3, the release of JetPack 6. What TensorRT-RTX 1.7 refuses beyond that was tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lift3d_ros.errors import EngineError

_NAMES = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast CastLike Ceil Celu
Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DeformConv DepthToSpace DequantizeLinear Div
Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu Gemm
GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization GRU HardSigmoid
HardSwish Hardmax Identity If InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log
LogSoftmax Loop LRN LSTM LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min Mod Mul Neg
NonMaxSuppression NonZero Not OneHot Or Pad Pow PRelu QuantizeLinear RandomNormal RandomNormalLike RandomUniform
RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RNN RoiAlign Round Scan Scatter
ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth
Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
"""
SUPPORTED = frozenset(_NAMES.split())

# In the list of 10.15, but the change log does not say since when.
UNDATED = frozenset({"CastLike", "Gelu"})

REFUSED_BY_RTX = frozenset({"DeformConv", "NonZero", "NonMaxSuppression", "RoiAlign"})

_LARGEST_K = 3840
_MAX_OPSET = 20


@dataclass(frozen=True)
class OperatorProblem:
    """One node of a graph that TensorRT does not take.

    Args:
        backends: those that do not take it.
    """

    node: str
    operator: str
    reason: str
    backends: tuple[str, ...] = ("tensorrt", "tensorrt_rtx")

    def __str__(self) -> str:
        return f"{self.operator} '{self.node}': {self.reason} ({', '.join(self.backends)})"


@dataclass(frozen=True)
class OperatorReport:
    """What the check of a graph found.

    Args:
        operators: operator -> number of nodes.
        undated: operators whose first release is not documented.
    """

    operators: dict[str, int]
    problems: tuple[OperatorProblem, ...]
    undated: tuple[str, ...]


def check_operators(path: Path) -> OperatorReport:
    """Compare the nodes of the graph at `path` with what the TensorRT 10.3 parser and TensorRT-RTX 1.7 take.

    Raises:
        EngineError: onnx is not installed, or the file is no graph.
    """
    try:
        import onnx
    except ImportError:
        raise EngineError(f"{path}: reading its operators needs the package onnx; 'pip install onnx'") from None
    try:
        # Weights are of no interest here, but constants such as the K of TopK are.
        model = onnx.load(str(path))
    except Exception as error:  # the parser of the file has no common base class for its errors
        raise EngineError(f"{path}: is no ONNX graph ({' '.join(str(error).split())[:200]}); export it again") from None
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    problems = []
    if opset > _MAX_OPSET:
        reason = f"the graph has opset {opset}; release 10.3 reads up to {_MAX_OPSET}"
        problems.append(OperatorProblem("graph", "opset", reason, ("tensorrt",)))
    counts: dict[str, int] = {}
    for node in model.graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
        problems += _problems_of(node, constants, onnx)
    return OperatorReport(dict(sorted(counts.items())), tuple(problems), tuple(sorted(UNDATED & counts.keys())))


def _problems_of(node: Any, constants: dict[str, Any], onnx: Any) -> list[OperatorProblem]:
    name, operator = node.name or node.output[0], node.op_type
    if node.domain not in ("", "ai.onnx"):
        return [OperatorProblem(name, operator, f"domain '{node.domain}' needs a plugin")]
    if operator not in SUPPORTED:
        return [OperatorProblem(name, operator, "is not among the operators of the parser")]
    if operator in REFUSED_BY_RTX:
        return [OperatorProblem(name, operator, "was refused when tried", ("tensorrt_rtx",))]
    attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    reason = _restriction(node, attributes, constants, onnx)
    return [OperatorProblem(name, operator, reason)] if reason else []


def _restriction(node: Any, attributes: dict[str, Any], constants: dict[str, Any], onnx: Any) -> str:
    """Return which documented restriction a node breaks, else nothing."""
    operator = node.op_type
    if operator == "ScatterND" and attributes.get("reduction", b"none") != b"none":
        return "only without reduction; gather by an inverse table in place of it"
    if operator == "MaxPool" and len(node.output) > 1 and node.output[1]:
        return "the indices are not given"
    if operator == "LayerNormalization" and any(node.output[1:]):
        return "only the first output is given"
    if operator == "Resize" and attributes.get("antialias", 0):
        return "only without antialias"
    if operator == "CumSum" and node.input[1] not in constants:
        return "the axis must be a constant"
    if operator.startswith("Reduce") and len(node.input) > 1 and node.input[1] and node.input[1] not in constants:
        return "the axes must be constants"
    if operator == "TopK" and node.input[1] in constants:
        largest = int(onnx.numpy_helper.to_array(constants[node.input[1]]).max(initial=0))
        return f"K is {largest}; at most {_LARGEST_K}" if largest > _LARGEST_K else ""
    return ""

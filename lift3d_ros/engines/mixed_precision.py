"""Turns a float32 graph into one whose layers with weights compute in 16 bit; imports onnx when called.

TensorRT from release 11 on, TensorRT-RTX, and strongly typed networks of release 10 take the types of the graph as they
stand. So the graph itself says what is computed in 16 bit: convolutions and linear layers. Everything between the
cameras' matrices and sampling weights stays in float32, since 16-bit coordinates are off by a good part of a cell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import EngineError

# Linear layers of narrow inputs (positions, matrices of cameras) are coordinates, and cost nothing.
_MIN_INNER_SIZE = 32
# These follow a layer in its type; they lose nothing in it.
_FOLLOWERS = ("Relu", "Clip", "MaxPool", "Add")
_ONNX_TYPES = {"float16": 10, "bfloat16": 16}
_DROPPED_BITS = {"float16": 13, "bfloat16": 16}  # of the 24 of float32
_FACTOR = "rounding__factor"


def to_mixed_precision(path: Path, precision: str) -> tuple[bytes, int]:
    """Return the graph at `path` with layers in `precision`, and how many layers that are.

    Inputs, outputs and states keep their types.

    Args:
        precision: ``float16`` or ``bfloat16``.

    Raises:
        EngineError: onnx is not installed, or the graph has no layer with weights.
    """
    return _convert(path, precision, _Converter)


def to_rounded_precision(path: Path, precision: str) -> tuple[bytes, int]:
    """Return a float32 graph with the rounding of :func:`to_mixed_precision`: weights, inputs and outputs of layers.

    ONNX Runtime has no 16-bit layers for CPUs: it computes in float32 there and drops the conversions, so that of a
    graph in 16 bit nothing but the weights is rounded. This graph shows on a CPU what 16 bit do, except that values
    beyond the range of float16 are not cut off.

    Raises:
        EngineError: as :func:`to_mixed_precision`.
    """
    return _convert(path, precision, _Rounder)


def is_weighted_layer(node: Any, weights: Mapping[str, Any]) -> bool:
    """Return whether a node is a convolution or linear layer with weights, and not one of coordinates.

    Args:
        weights: initialisers of the graph by name.
    """
    if node.op_type in ("Conv", "ConvTranspose"):
        return node.input[1] in weights
    if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in weights:
        return False
    shape = weights[node.input[1]].dims
    is_transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return len(shape) == 2 and bool(shape[1 if is_transposed else 0] >= _MIN_INNER_SIZE)


def _convert(path: Path, precision: str, converter: type[_Converter]) -> tuple[bytes, int]:
    try:
        import onnx
    except ImportError:
        raise EngineError(
            f"precision {precision}: converting {path.name} needs the package onnx; 'pip install onnx', or build with "
            "precision float32"
        ) from None
    model = onnx.load(str(path))
    count = converter(model.graph, precision).run()
    if not count:
        raise EngineError(f"{path}: has no convolution or linear layer to run in {precision}; build with float32")
    return model.SerializeToString(), count


class _Converter:
    """Rewrites one graph in the order of its nodes."""

    def __init__(self, graph: Any, precision: str) -> None:
        import onnx

        self._onnx = onnx
        self._graph = graph
        self._precision = precision
        self._type = _ONNX_TYPES[precision]
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._small: dict[str, str] = {}  # float32 tensor -> its twin in 16 bit
        self._from_layers: set[str] = set()
        self._nodes: list[Any] = []

    def run(self) -> int:
        layers = 0
        for node in list(self._graph.node):
            is_layer = is_weighted_layer(node, self._weights)
            layers += is_layer
            if is_layer or self._follows(node):
                self._shrink(node)
            else:
                self._nodes.append(node)
        used = Counter(name for node in self._nodes for name in node.input)
        used.update(output.name for output in self._graph.output)
        kept = [node for node in self._nodes if any(used[name] for name in node.output)]
        del self._graph.node[:]
        self._graph.node.extend(kept)
        weights = [tensor for tensor in self._graph.initializer if used[tensor.name]]
        del self._graph.initializer[:]
        self._graph.initializer.extend(weights)
        return layers

    def _follows(self, node: Any) -> bool:
        data = node.input if node.op_type == "Add" else node.input[:1]
        return node.op_type in _FOLLOWERS and len(node.output) == 1 and all(name in self._from_layers for name in data)

    def _shrink(self, node: Any) -> None:
        """Compute a node in 16 bit, and give those who want it its output in float32."""
        for index, name in enumerate(node.input):
            if name:
                node.input[index] = self._twin(name)
        full, small = node.output[0], f"{node.output[0]}__16bit"
        node.output[0] = small
        self._nodes.append(node)
        # Dropped again where nobody asks for it.
        self._nodes.append(
            self._onnx.helper.make_node(
                "Cast", [small], [full], name=f"{full}__to_32bit", to=self._onnx.TensorProto.FLOAT
            )
        )
        self._small[full] = small
        self._from_layers.add(full)

    def _twin(self, name: str) -> str:
        if name not in self._small:
            self._small[name] = twin = f"{name}__16bit"
            if name in self._weights:
                self._graph.initializer.append(self._small_weights(name, twin))
            else:
                self._nodes.append(
                    self._onnx.helper.make_node("Cast", [name], [twin], name=f"{name}__to_16bit", to=self._type)
                )
        return self._small[name]

    def _small_weights(self, name: str, twin: str) -> Any:
        values = self._onnx.numpy_helper.to_array(self._weights[name])
        tensor = self._onnx.TensorProto(name=twin, data_type=self._type, dims=values.shape)
        tensor.raw_data = _rounded(values, self._precision).tobytes()
        return tensor


class _Rounder(_Converter):
    """Rounds to 16 bit what goes into layers and comes out of them, and keeps it in float32."""

    def _shrink(self, node: Any) -> None:
        for index, name in enumerate(node.input):
            if name:
                node.input[index] = self._twin(name)
        full, exact = node.output[0], f"{node.output[0]}__exact"
        node.output[0] = exact
        self._nodes.append(node)
        self._round(exact, full)
        self._small[full] = full
        self._from_layers.add(full)

    def _twin(self, name: str) -> str:
        if name not in self._small and name not in self._weights:
            self._small[name] = f"{name}__16bit"
            self._round(name, self._small[name])
        return super()._twin(name)

    def _small_weights(self, name: str, twin: str) -> Any:
        values = self._onnx.numpy_helper.to_array(self._weights[name])
        rounded = _rounded(values, self._precision)
        if self._precision == "bfloat16":
            wide = (rounded.astype(np.uint32) << 16).view(np.float32)
        else:
            wide = rounded.astype(np.float32)
        return self._onnx.numpy_helper.from_array(wide, twin)

    def _round(self, name: str, rounded: str) -> None:
        """Add the splitting of Veltkamp: with c = (2^s + 1) x, c - (c - x) is x without its last s bits, rounded."""
        if _FACTOR not in self._weights:
            factor = np.array(2 ** _DROPPED_BITS[self._precision] + 1, dtype=np.float32)
            self._weights[_FACTOR] = self._onnx.numpy_helper.from_array(factor, _FACTOR)
            self._graph.initializer.append(self._weights[_FACTOR])
        make = self._onnx.helper.make_node
        for kind, inputs, output in (
            ("Mul", [name, _FACTOR], f"{rounded}__c"),
            ("Sub", [f"{rounded}__c", name], f"{rounded}__rest"),
            ("Sub", [f"{rounded}__c", f"{rounded}__rest"], rounded),
        ):
            self._nodes.append(make(kind, inputs, [output], name=output))


def _rounded(values: NDArray[Any], precision: str) -> NDArray[Any]:
    """Return the bits of float32 values in a 16-bit type, rounded to the nearest, ties to even."""
    if precision == "float16":
        limit = float(np.finfo(np.float16).max)
        return values.clip(-limit, limit).astype(np.float16)
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)

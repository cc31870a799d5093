"""Turns layers of a float32 graph into INT8 by explicit QuantizeLinear and DequantizeLinear nodes; imports onnx late.

What is written is what TensorRT takes: symmetric, weights for each channel, activations for each tensor, biases in
float32. Only what goes into a layer is quantised, not what comes out; the graph itself says which layers are in INT8.
The widest values seen in calibration become the range of an activation, so calibration data must be clean.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnxruntime as ort

from lift3d_ros.engines.mixed_precision import is_weighted_layer
from lift3d_ros.engines.onnxruntime_engine import FACTS_KEY
from lift3d_ros.engines.protocol import Arrays
from lift3d_ros.errors import EngineError

QUANTIZATION_FACT = "quantization"

_LAYER_KINDS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_SETTINGS = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,  # TensorRT refuses biases in int32
    "AddQDQPairToWeight": False,  # weights lie in the file as int8
    "OpTypesToExcludeOutputQuantization": list(_LAYER_KINDS),
}


@dataclass(frozen=True)
class LayerGroup:
    """Layers of one part of a network, which are quantised together.

    Args:
        name: of the module that they belong to; of the first and the last where there are several.
        nodes: names of the layers.
    """

    name: str
    nodes: tuple[str, ...]


class GraphQuantizer:
    """One graph with the ranges of its activations."""

    def __init__(self, path: Path, feeds: Sequence[Arrays], max_groups: int = 16) -> None:
        """Run the graph at `path` on calibration data.

        Args:
            feeds: inputs and states of single runs.
            max_groups: neighbouring parts of the network are joined until there are no more.

        Raises:
            EngineError: onnx is not installed, there is no data, or the graph has no layers, or is quantised already.
        """
        try:
            import onnx
            import onnxruntime.quantization as ort_quantization
        except ImportError as error:
            raise EngineError(f"quantising {path.name} needs the package onnx ({error}); 'pip install onnx'") from None
        if not feeds:
            raise EngineError(f"quantising {path.name}: no calibration data; give a recording with at least one frame")
        self._ort: Any = ort_quantization
        self._onnx: Any = onnx
        self._model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
        if any(node.op_type == "QuantizeLinear" for node in self._model.graph.node):
            raise EngineError(f"{path}: is quantised already; give the float32 graph")
        self.groups = _groups(self._model.graph, max_groups)
        if not self.groups:
            raise EngineError(f"{path}: has no convolution or linear layer with weights to run in int8")
        self._ranges = self._calibrate(path, feeds)

    def quantize(self, groups: Sequence[LayerGroup]) -> bytes:
        """Return the graph with the layers of `groups` in INT8 and all others as they are."""
        chosen = [name for group in groups for name in group.nodes]
        model = self._onnx.ModelProto()
        model.CopyFrom(self._model)
        kind = self._ort.QuantType.QInt8
        if chosen:  # the quantiser takes an empty list for all layers
            with _quiet():
                quantizer = self._ort.QDQQuantizer(
                    model, True, False, kind, kind, self._ranges, chosen, [], list(_LAYER_KINDS), dict(_SETTINGS)
                )
                quantizer.quantize_model()
            model = quantizer.model.model
        left = [group.name for group in self.groups if group not in groups]
        _note(model, {"layers": len(chosen), "of": sum(len(g.nodes) for g in self.groups), "float": left})
        return bytes(model.SerializeToString())

    def _calibrate(self, path: Path, feeds: Sequence[Arrays]) -> Any:
        """Return the range of every tensor that goes into a layer or comes out of one."""
        remaining = iter(feeds)

        class Reader(self._ort.CalibrationDataReader):  # type: ignore[misc, name-defined]
            def get_next(self) -> Arrays | None:
                return next(remaining, None)

        with TemporaryDirectory() as folder, _quiet():
            calibrator = self._ort.MinMaxCalibrater(
                str(path), list(_LAYER_KINDS), str(Path(folder) / "augmented.onnx"), symmetric=True
            )
            calibrator.augment_graph()
            # In place of its own session, whose arena keeps the memory of every tensor.
            options = ort.SessionOptions()
            options.enable_cpu_mem_arena = options.enable_mem_pattern = False
            options.log_severity_level = 3
            calibrator.infer_session = ort.InferenceSession(
                calibrator.augmented_model_path, options, providers=["CPUExecutionProvider"]
            )
            calibrator.collect_data(Reader())
            return calibrator.compute_data()


def quantized_layers(path: Path) -> int:
    """Return how many layers of a graph are in INT8; none where it is not quantised.

    Raises:
        EngineError: onnx is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise EngineError(f"reading {path.name} needs the package onnx; 'pip install onnx'") from None
    graph = onnx.load(str(path)).graph
    made = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    return sum(node.op_type in _LAYER_KINDS and node.input[1] in made for node in graph.node)


def _groups(graph: Any, most: int) -> tuple[LayerGroup, ...]:
    """Return the layers with weights by the module that they belong to, in the order of the graph."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    parts: dict[str, list[str]] = {}
    for node in graph.node:
        if is_weighted_layer(node, weights):
            parts.setdefault(_module_of(node), []).append(node.name)
    groups = [LayerGroup(name, tuple(nodes)) for name, nodes in parts.items()]
    while len(groups) > max(1, most):
        sizes = [len(left.nodes) + len(right.nodes) for left, right in itertools.pairwise(groups)]
        at = sizes.index(min(sizes))
        left, right = groups[at : at + 2]
        name = f"{left.name.split(' to ')[0]} to {right.name.split(' to ')[-1]}"
        groups[at : at + 2] = [LayerGroup(name, left.nodes + right.nodes)]
    return tuple(groups)


def _module_of(node: Any) -> str:
    """Return the module of a node up to its first number, ``encoder.0`` of ``encoder.0.temporal``."""
    found = next((entry.value for entry in node.metadata_props if entry.key == "pkg.torch.onnx.name_scopes"), "[]")
    with contextlib.suppress(ValueError, SyntaxError):
        scopes = ast.literal_eval(found)
        if len(scopes) > 1:
            parts = str(scopes[-2]).split(".")
            number = next((index for index, part in enumerate(parts) if part.isdecimal()), len(parts))
            return ".".join(parts[: number + 1]) or "network"
    return "network"


def _note(model: Any, facts: dict[str, Any]) -> None:
    """Add what was quantised to the facts of the model."""
    for entry in model.metadata_props:
        if entry.key == FACTS_KEY:
            entry.value = json.dumps({**json.loads(entry.value), QUANTIZATION_FACT: facts})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser from advising steps that this module has taken, or does not want."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)

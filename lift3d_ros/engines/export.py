"""Writes a PyTorch module as an ONNX graph that carries its signature and facts, and checks it."""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from lift3d_ros.engines.onnxruntime_engine import FACTS_KEY, SIGNATURE_KEY, OnnxRuntimeEngine
from lift3d_ros.engines.protocol import Arrays, Engine, EngineSignature
from lift3d_ros.engines.torch_engine import TorchEngine
from lift3d_ros.errors import EngineError

# Opset 23 turns attention into one node that TensorRT refuses in float32; 20 decomposes it.
OPSET = 20
MAX_RELATIVE_ERROR = 1e-3
# What the exporter notes of each node holds paths of the machine that it runs on.
_STACK_TRACE = "pkg.torch.onnx.stack_trace"
_COMPARED_FRAMES = 3  # the first without history, then with one that the graph itself has made

logger = logging.getLogger(__name__)


def export_onnx(
    module: torch.nn.Module,
    signature: EngineSignature,
    facts: Mapping[str, Any],
    example: Mapping[str, NDArray[Any]],
    path: Path,
    align: Callable[[Arrays, Arrays], Arrays] = lambda expected, found: found,
    others: Sequence[Mapping[str, NDArray[Any]]] = (),
) -> None:
    """Export `module` to `path`, atomically, after comparing it with PyTorch.

    Args:
        signature: a size that is None there may differ from run to run in the graph; all others are fixed.
        example: one value for each declared input; used for tracing and for the comparison. No two sizes that may
            differ independently should be equal in it, and none of them 1.
        facts: plain data stored in the graph (model name, weights hash, configuration).
        align: brings outputs of the graph into the order of the expected ones, where their order means nothing and
            rounding may change it.
        others: further inputs to compare with, of other sizes where sizes may differ.

    Raises:
        EngineError: the graph deviates from PyTorch by more than 1e-3 (RMS error over RMS value).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as folder:
        draft = Path(folder) / path.name
        logger.info("tracing the network; large ones take minutes")
        _write(module, signature, facts, example, draft)
        worst = _largest_relative_error(module, signature, [example, *others], draft, align)
        if worst > MAX_RELATIVE_ERROR:
            raise EngineError(
                f"{path}: the exported graph deviates from PyTorch by {worst:.2g} (RMS error over RMS value); "
                f"expected at most {MAX_RELATIVE_ERROR:g}. The graph was not written"
            )
        draft.replace(path)
    logger.info("exported %s: %.1f MB, relative error %.1e", path, path.stat().st_size / 1e6, worst)


def _write(
    module: torch.nn.Module,
    signature: EngineSignature,
    facts: Mapping[str, Any],
    example: Mapping[str, NDArray[Any]],
    path: Path,
) -> None:
    values = {**example, **{spec.input: spec.zeros() for spec in signature.states}}
    names = [name for name in inspect.signature(module.forward).parameters if name in values]
    arguments = {name: torch.from_numpy(values[name]) for name in names}
    with _quiet_exporter(), torch.inference_mode():
        torch.onnx.export(
            module.cpu().eval(),
            (),
            str(path),
            kwargs=arguments,
            input_names=names,
            output_names=list(signature.output_names),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
            dynamic_shapes=_dynamic_shapes(signature, names),
        )
    graph = onnx.load(str(path))
    for node in graph.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key != _STACK_TRACE]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    for key, document in ((SIGNATURE_KEY, signature.to_json()), (FACTS_KEY, dict(facts))):
        entry = graph.metadata_props.add()
        entry.key, entry.value = key, json.dumps(document)
    onnx.save(graph, str(path))


def _dynamic_shapes(signature: EngineSignature, names: Sequence[str]) -> dict[str, Any] | None:
    """Return what the exporter has to know of sizes that are not fixed, for the inputs `names`; None without any."""
    sizes = {spec.name: spec.shape for spec in signature.inputs}
    free = {
        name: {axis: torch.export.Dim.DYNAMIC for axis, size in enumerate(sizes.get(name, ())) if size is None} or None
        for name in names
    }
    return free if any(free.values()) else None


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence notes of the exporter that no user can act on; errors still come through."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [noisy.level for noisy in loggers]
    for noisy in loggers:
        noisy.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for noisy, level in zip(loggers, levels, strict=True):
            noisy.setLevel(level)


def _largest_relative_error(
    module: torch.nn.Module,
    signature: EngineSignature,
    examples: Sequence[Mapping[str, NDArray[Any]]],
    path: Path,
    align: Callable[[Arrays, Arrays], Arrays],
) -> float:
    """Run both engines on consecutive frames and return the worst RMS error over RMS value.

    Without state one frame of each example is enough.
    """
    engines: tuple[Engine, ...] = (TorchEngine(module, signature, "cpu", 0), OnnxRuntimeEngine(path, 0))
    frames = _COMPARED_FRAMES if signature.states else 1
    worst = 0.0
    for number, example in enumerate(examples):
        states = [engine.new_state() for engine in engines]
        for frame in range(frames):
            logger.info("comparing frame %d of %d with PyTorch", number * frames + frame + 1, len(examples) * frames)
            expected, found = (engine.run(example, state) for engine, state in zip(engines, states, strict=True))
            found = align(expected, found)
            for name, reference in expected.items():
                scale = float(np.sqrt(np.mean(np.square(reference)))) or 1.0
                worst = max(worst, float(np.sqrt(np.mean(np.square(found[name] - reference)))) / scale)
    return worst

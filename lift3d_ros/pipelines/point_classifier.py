"""A linear classifier on descriptors of one encoder: its file, and classes with their probabilities.

Letters: B crops, C channels of a descriptor, L classes.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lift3d_ros.errors import WeightsError
from lift3d_ros.types import Float32Array, ModelIdentity

CLASSIFIER_METHOD = "point_classifier"


@dataclass(frozen=True, eq=False)
class PointFeatureClassifier:
    """Probabilities are the softmax of `weight` times descriptor plus `bias`.

    Args:
        weight: (L, C) float32.
        bias: (L,) float32.
        encoder_sha256: of the weights whose descriptors it was fitted to.
    """

    weight: Float32Array
    bias: Float32Array
    class_names: tuple[str, ...]
    encoder_sha256: str

    def classify(self, descriptors: Float32Array) -> list[tuple[str, float]]:
        """Return the most probable class of each descriptor (B, C), and its probability."""
        logits = descriptors.astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias
        likelihood = np.exp(logits - logits.max(axis=1, keepdims=True))
        probability = likelihood / likelihood.sum(axis=1, keepdims=True)
        best = probability.argmax(axis=1)
        return [
            (self.class_names[index], float(row[index])) for row, index in zip(probability, best.tolist(), strict=True)
        ]


def save_classifier(path: Path, classifier: PointFeatureClassifier) -> None:
    """Write a classifier as ``.safetensors``.

    Raises:
        WeightsError: the file cannot be written, or safetensors is not installed.
    """
    _require_safetensors(path)
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    header = {
        "method": CLASSIFIER_METHOD,
        "class_names": json.dumps(classifier.class_names),
        "encoder_sha256": classifier.encoder_sha256,
    }
    # The format keeps bytes as they lie in memory, also those of a transposed matrix.
    tensors = {"weight": np.ascontiguousarray(classifier.weight), "bias": np.ascontiguousarray(classifier.bias)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, str(path), metadata=header)
        path.chmod(0o644)  # save_file writes a private file
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"{path}: cannot be written ({reason}); give another file") from None


def load_classifier(path: Path, encoder: ModelIdentity, descriptor_dims: int) -> PointFeatureClassifier:
    """Read a classifier and check that it belongs to an encoder.

    Args:
        descriptor_dims: numbers that describe a cloud, by the encoder.

    Raises:
        WeightsError: the file is missing, damaged, no classifier, or was fitted to the descriptors of other weights, or
            to descriptors of another size.
    """
    if not path.is_file():
        raise WeightsError(f"classifier '{path}': no such file; make one with 'lift3d fit-classifier'")
    _require_safetensors(path)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as file:
            header = file.metadata() or {}
            tensors = {name: np.asarray(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        detail = " ".join(str(error).split())[:400]
        raise WeightsError(f"{path}: cannot be read as safetensors ({detail}); fit the classifier again") from None
    found = header.get("method", "none")
    if found != CLASSIFIER_METHOD or not {"weight", "bias"} <= tensors.keys():
        raise WeightsError(
            f"{path}: its header names method '{found}' and it holds {', '.join(sorted(tensors)[:3]) or 'nothing'}; "
            "expected a classifier that 'lift3d fit-classifier' wrote"
        )
    names = _class_names(header.get("class_names", ""))
    weight, bias = tensors["weight"], tensors["bias"]
    if weight.ndim != 2 or weight.shape[0] != len(names) or bias.shape != (len(names),):
        raise WeightsError(
            f"{path}: weight {weight.shape} and bias {bias.shape} for {len(names)} classes do not fit together; fit "
            "the classifier again"
        )
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise WeightsError(f"{path}: holds values that are not finite; fit the classifier again")
    classifier = PointFeatureClassifier(
        weight.astype(np.float32), bias.astype(np.float32), names, header.get("encoder_sha256", "")
    )
    if classifier.encoder_sha256 != encoder.weights_sha256:
        fitted_to = classifier.encoder_sha256[:12] or "that it does not name"
        raise WeightsError(
            f"{path}: was fitted to the features of weights {fitted_to}; model '{encoder.name}' has "
            f"{encoder.weights_sha256[:12]}. Fit it again with 'lift3d fit-classifier' and the --model "
            "that you use here"
        )
    if weight.shape[1] != descriptor_dims:
        raise WeightsError(
            f"{path}: was fitted to descriptors of {weight.shape[1]} numbers; model '{encoder.name}' gives "
            f"{descriptor_dims}, as it pools its tokens in another way. Fit it again with 'lift3d fit-classifier' and "
            "the --model that you use here"
        )
    return classifier


def _class_names(text: str) -> tuple[str, ...]:
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _require_safetensors(path: Path) -> None:
    if importlib.util.find_spec("safetensors") is None:
        raise WeightsError(f"{path}: reading and writing it needs safetensors; 'pip install safetensors'")

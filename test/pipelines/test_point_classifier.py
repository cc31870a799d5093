"""A classifier is kept in a file that says whose features it reads, and refuses others."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

pytest.importorskip("safetensors", reason="safetensors is not installed")

from safetensors.numpy import save_file

from lift3d_ros.errors import WeightsError
from lift3d_ros.pipelines.point_classifier import PointFeatureClassifier, load_classifier, save_classifier
from lift3d_ros.types import ModelIdentity

ENCODER = ModelIdentity("points", "ab" * 32, is_trained=True)
CLASSIFIER = PointFeatureClassifier(
    np.float32([[2, 0], [0, 2], [-2, -2]]), np.float32([0, 0, 1]), ("cup", "bowl", "box"), ENCODER.weights_sha256
)


def test_the_most_probable_class_is_given_with_its_probability() -> None:
    found = CLASSIFIER.classify(np.float32([[1, 0], [0, 30], [-500, -500]]))
    assert [label for label, _ in found] == ["cup", "bowl", "box"]
    logits = np.array([2.0, 0.0, -1.0])
    assert found[0][1] == pytest.approx(np.exp(2) / np.exp(logits).sum())
    assert found[2][1] == pytest.approx(1.0)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_classifier_is_read_as_it_was_written(tmp_path: Path, order: Literal["C", "F"]) -> None:
    path = tmp_path / "new" / "classifier.safetensors"
    save_classifier(path, dataclasses.replace(CLASSIFIER, weight=np.array(CLASSIFIER.weight, order=order)))
    found = load_classifier(path, ENCODER, 2)
    assert (found.class_names, found.encoder_sha256) == (CLASSIFIER.class_names, ENCODER.weights_sha256)
    np.testing.assert_array_equal(found.weight, CLASSIFIER.weight)
    np.testing.assert_array_equal(found.bias, CLASSIFIER.bias)


def test_features_of_other_weights_are_refused(tmp_path: Path) -> None:
    save_classifier(tmp_path / "c.safetensors", CLASSIFIER)
    with pytest.raises(
        WeightsError, match="was fitted to the features of weights abababababab; model 'other' has cdcd"
    ):
        load_classifier(tmp_path / "c.safetensors", ModelIdentity("other", "cd" * 32, is_trained=True), 2)


def test_descriptors_of_another_size_are_refused(tmp_path: Path) -> None:
    save_classifier(tmp_path / "c.safetensors", CLASSIFIER)
    with pytest.raises(
        WeightsError, match=r"descriptors of 2 numbers; model 'points' gives 6, .* the --model that you use"
    ):
        load_classifier(tmp_path / "c.safetensors", ENCODER, 6)


def test_files_that_are_no_classifier_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_bytes(b"nothing")
    save_file({"weight": np.zeros((2, 2))}, str(tmp_path / "encoder.safetensors"), metadata={"method": "i2p_mae"})
    header = {"method": "point_classifier", "class_names": '["a"]', "encoder_sha256": ENCODER.weights_sha256}
    save_file({"weight": np.zeros((2, 2)), "bias": np.zeros(2)}, str(tmp_path / "names.safetensors"), metadata=header)
    save_file({"weight": np.full((1, 2), np.nan), "bias": np.zeros(1)}, str(tmp_path / "nan.safetensors"), header)
    header = {**header, "class_names": "{"}
    save_file({"weight": np.zeros((2, 2)), "bias": np.zeros(2)}, str(tmp_path / "json.safetensors"), metadata=header)
    for name, words in (
        ("none", "no such file; make one with 'lift3d fit-classifier'"),
        ("text", "cannot be read as safetensors"),
        ("encoder", "its header names method 'i2p_mae' and it holds weight; expected a classifier"),
        ("names", r"weight \(2, 2\) and bias \(2,\) for 1 classes do not fit together"),
        ("nan", "holds values that are not finite; fit the classifier again"),
        ("json", "for 0 classes do not fit together"),
    ):
        with pytest.raises(WeightsError, match=words):
            load_classifier(tmp_path / f"{name}.safetensors", ENCODER, 2)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match="cannot be written"):
        save_classifier(tmp_path / "file" / "c.safetensors", CLASSIFIER)

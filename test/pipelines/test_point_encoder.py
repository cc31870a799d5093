"""The point encoder gives features of a cloud or of the objects in it, and says what it could not do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from point_clouds import SOURCE, boxes_at, ellipsoid, encoder, write_encoder
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lift3d_ros.errors import EngineError, Lift3dError, WeightsError
from lift3d_ros.models.i2p_mae.tokenizer import group_scales
from lift3d_ros.pipelines.point_classifier import PointFeatureClassifier, save_classifier
from lift3d_ros.pipelines.point_encoder import (
    PointCloudFrame,
    PointEncoder,
    PointEncoderConfig,
    PreparedClouds,
    open_point_encoder,
)
from lift3d_ros.pipelines.point_network import load_point_network
from lift3d_ros.types import PointFeatureSet

PLACES = np.array([[0.0, 0, 0], [5, 1, 0], [-4, 9, 2]])


@pytest.fixture(scope="module")
def small() -> PointEncoder:
    return encoder()


def encode(point_encoder: PointEncoder, frame: PointCloudFrame) -> PointFeatureSet:
    return point_encoder.infer(point_encoder.prepare(frame))


def scene() -> np.ndarray:
    """Three ellipsoids of different shape, each with 300 points."""
    shapes = ((1.0, 0.6, 0.3), (0.4, 1.0, 0.9), (0.1, 0.1, 1.0))
    parts = [ellipsoid(300, axes, seed) + place for seed, (axes, place) in enumerate(zip(shapes, PLACES, strict=True))]
    return np.concatenate(parts).astype(np.float32)


def test_a_whole_cloud_has_one_descriptor_and_tokens_with_places_in_its_frame(small: PointEncoder) -> None:
    points = ellipsoid(500) * 3 + np.float32([20, -10, 1])
    result = encode(small, PointCloudFrame(points, "lidar", 77))
    assert (result.frame_id, result.stamp_ns, result.problems) == ("lidar", 77, ())
    assert result.model.description == "small (untrained weights)"
    assert set(result.timings_s) == {"prepare", "inference"}
    (found,) = result.features
    assert (found.instance_id, found.num_points, found.label, found.score) == (-1, 500, "", 0.0)
    assert found.descriptor.shape == (108,)
    assert found.tokens.shape == (10, 24)
    distance = np.linalg.norm(found.token_centers[:, None] - points[None], axis=2)
    assert distance.min(axis=1).max() < 1e-4


def test_features_are_those_of_the_network_on_the_same_points(small: PointEncoder) -> None:
    prepared = small.prepare(PointCloudFrame(ellipsoid(500)))
    (found,) = small.infer(prepared).features
    network, _ = load_point_network(SOURCE)
    with torch.inference_mode():
        descriptors, tokens = network(
            group_scales(torch.from_numpy(prepared.units[0].points)[None], SOURCE.config.tokens)
        )
    np.testing.assert_allclose(found.descriptor, descriptors[0], atol=1e-5)
    np.testing.assert_allclose(found.tokens, tokens[0], atol=1e-5)


def test_each_box_has_the_features_of_its_own_points(small: PointEncoder) -> None:
    points = scene()
    result = encode(small, PointCloudFrame(points, "lidar", 0, boxes_at(PLACES), np.array([40, 7, 12])))
    assert [found.instance_id for found in result.features] == [40, 7, 12]
    assert [found.num_points for found in result.features] == [300, 300, 300]
    for number, found in enumerate(result.features):
        alone = encode(small, PointCloudFrame(points[300 * number : 300 * (number + 1)])).features[0]
        np.testing.assert_allclose(found.descriptor, alone.descriptor, atol=2e-5)
        np.testing.assert_allclose(found.token_centers, alone.token_centers, atol=1e-4)


def test_place_and_size_of_an_object_do_not_change_its_descriptor(small: PointEncoder) -> None:
    near, far = ellipsoid(400), ellipsoid(400) * 8 + np.float32([100, 50, -3])
    first, second = (encode(small, PointCloudFrame(points)).features[0] for points in (near, far))
    np.testing.assert_allclose(first.descriptor, second.descriptor, atol=1e-3)


def test_boxes_are_counted_where_they_have_no_ids(small: PointEncoder) -> None:
    result = encode(small, PointCloudFrame(scene(), "lidar", 0, boxes_at(PLACES)))
    assert [found.instance_id for found in result.features] == [0, 1, 2]


def test_a_box_without_points_is_named_and_has_no_features(small: PointEncoder) -> None:
    result = encode(small, PointCloudFrame(scene(), "lidar", 0, boxes_at([*PLACES, [50, 50, 0]])))
    assert [found.instance_id for found in result.features] == [0, 1, 2]
    assert result.problems == ("box 3: no point of the cloud lies in it; it has no features",)


def test_no_boxes_are_no_features_and_no_problem(small: PointEncoder) -> None:
    result = encode(small, PointCloudFrame(scene(), "lidar", 0, boxes_at([])))
    assert (result.features, result.problems) == ((), ())


def test_of_too_many_boxes_those_with_the_highest_scores_are_encoded() -> None:
    limited = encoder(max_crops=2)
    result = encode(limited, PointCloudFrame(scene(), "lidar", 0, boxes_at(PLACES, scores=[0.9, 0.1, 0.5])))
    assert [found.instance_id for found in result.features] == [0, 2]
    assert "3 boxes, and max_crops is 2" in result.problems[0]


@pytest.mark.parametrize(
    ("points", "words"),
    [(np.zeros((0, 3)), "it has no points"), (np.full((9, 3), np.nan), "none of its 9 points is finite")],
)
def test_a_cloud_without_usable_points_is_named(small: PointEncoder, points: np.ndarray, words: str) -> None:
    for boxes in (None, boxes_at(PLACES)):
        result = encode(small, PointCloudFrame(points, "lidar", 0, boxes))
        assert result.features == ()
        assert result.problems[0].startswith("cloud in 'lidar': ")
        assert words in result.problems[0]
    assert encode(small, PointCloudFrame(points)).problems[0].startswith(f"cloud: {words}")


CLOUDS = {
    "one point": np.ones((1, 3)),
    "fewer points than tokens": ellipsoid(6),
    "duplicates": np.repeat(ellipsoid(3), 100, axis=0),
    "one place": np.full((200, 3), -4.0),
    "a line": np.linspace(0, 1, 400)[:, None] * [1.0, 2.0, 0.0],
    "a plane": ellipsoid(400) * [1, 1, 0],
    "huge values": ellipsoid(300) * 1e18,
    "values whose squares are beyond float32": ellipsoid(300) * 1e30,
    "tiny values": ellipsoid(300) * 1e-12,
}


@pytest.mark.parametrize("name", CLOUDS)
def test_clouds_without_volume_have_finite_features(small: PointEncoder, name: str) -> None:
    (found,) = encode(small, PointCloudFrame(CLOUDS[name])).features
    assert found.num_points == len(CLOUDS[name])
    for array in (found.descriptor, found.tokens, found.token_centers):
        assert np.isfinite(array).all()


def test_points_that_are_not_finite_change_nothing(small: PointEncoder) -> None:
    points = ellipsoid(300)
    holes = np.insert(points, [0, 100, 300], np.float32([np.nan, 1, np.inf]), axis=0)
    first, second = (encode(small, PointCloudFrame(cloud)).features[0] for cloud in (points, holes))
    assert (first.num_points, second.num_points) == (300, 300)
    np.testing.assert_array_equal(first.descriptor, second.descriptor)


def test_wrong_input_is_named(small: PointEncoder) -> None:
    with pytest.raises(Lift3dError, match=r"points must have shape \(points, 3\), got \(4, 2\)"):
        PointCloudFrame(np.zeros((4, 2)))
    with pytest.raises(Lift3dError, match="its frame is 'lidar' and that of the boxes 'map'"):
        PointCloudFrame(scene(), "lidar", 0, boxes_at(PLACES, frame_id="map"))
    with pytest.raises(Lift3dError, match="2 ids for 3 boxes"):
        PointCloudFrame(scene(), "lidar", 0, boxes_at(PLACES), np.arange(2))


def test_outputs_that_are_not_finite_are_no_features(small: PointEncoder) -> None:
    prepared = small.prepare(PointCloudFrame(ellipsoid(300)))
    broken = {**prepared.inputs, "points": np.full_like(prepared.inputs["points"], np.nan)}
    with pytest.raises(EngineError, match="holds values that are not finite"):
        small.infer(PreparedClouds(prepared.frame, prepared.crops, prepared.units, broken, (), 0.0))


def test_a_classifier_names_each_crop(tmp_path: Path, small: PointEncoder) -> None:
    frame = PointCloudFrame(scene(), "lidar", 0, boxes_at(PLACES))
    descriptors = np.stack([found.descriptor for found in encode(small, frame).features])
    weight = (descriptors - descriptors.mean(axis=0)) * 1e3
    path = tmp_path / "classifier.safetensors"
    names = ("slab", "disc", "rod")
    bias = -(weight * (descriptors + descriptors.mean(axis=0)) / 2).sum(axis=1)
    save_classifier(path, PointFeatureClassifier(weight, bias, names, small.identity.weights_sha256))
    classifying = encoder(classifier=str(path))
    assert classifying.class_names == names
    found = encode(classifying, frame).features
    assert tuple(item.label for item in found) == names
    assert all(1 / 3 < item.score <= 1.0 for item in found)


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(WeightsError, match="model 'lift3d-pionts' is not in"):
        open_point_encoder(PointEncoderConfig(model="lift3d-pionts"))


def test_weights_that_make_no_numbers_are_refused_when_they_are_opened(tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "broken.safetensors")
    with safe_open(str(path), framework="pt") as file:
        header = file.metadata()
    tensors = load_file(str(path))
    tensors["encoder.norms.2.bias"] = torch.full_like(tensors["encoder.norms.2.bias"], torch.nan)
    save_file(tensors, str(path), metadata=header)
    with pytest.raises(EngineError, match="holds values that are not finite"):
        open_point_encoder(PointEncoderConfig(model=str(path), num_threads=1))

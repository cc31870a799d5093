"""Opening the network of the skeleton lifter."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
from known_shapes import COCO17, frame_of, seen_person

from lift3d_ros.engines.split_engine import SplitEngine
from lift3d_ros.errors import EngineError, WeightsError
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.skeleton_engine import open_lfm_engine
from lift3d_ros.pipelines.skeleton_graph import load_lfm_network, untrained_lfm
from lift3d_ros.pipelines.skeleton_lifting import SkeletonLiftingConfig, open_skeleton_lifter
from lift3d_ros.weights.manifest import find_model

pytest.importorskip("torch")

MANIFEST = """\
models:
  small_lifter: {method: lfm, preset: lift3d-lfm-small, licence: Apache-2.0, source: a test, seed: 3}
  trained_lifter:
    {method: lfm, preset: lift3d-lfm-small, licence: Apache-2.0, source: a test, weights: w.safetensors, sha256: SHA}
  other: {method: dfa3d, preset: tiny, licence: Apache-2.0, source: a test}
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from safetensors.torch import save_file

    network, _ = load_lfm_network(dataclasses.replace(untrained_lfm("lift3d-lfm-small"), seed=8))
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, tmp_path / "w.safetensors")
    sha256 = hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()
    (tmp_path / "manifest.yaml").write_text(MANIFEST.replace("SHA", sha256))
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path))
    return tmp_path


def test_a_model_without_weights_is_repeatable_and_says_that_it_is_untrained(models: Path) -> None:
    config = SkeletonLiftingConfig(model="small_lifter", engine=EngineConfig(threads=1))
    first, second = (open_skeleton_lifter(config) for _ in range(2))
    assert not first.identity.is_trained
    frame = frame_of(seen_person()[1])
    results = [lifter.infer(lifter.prepare(frame)) for lifter in (first, second)]
    np.testing.assert_array_equal(results[0].skeletons[0].joints, results[1].skeletons[0].joints)
    assert "untrained" in results[0].model.description


def test_several_threads_lift_the_people_of_a_picture_in_parts_to_the_same_skeletons(models: Path) -> None:
    people = [dataclasses.replace(seen_person()[1], instance_id=number) for number in range(5)]
    results = []
    for threads in (1, 3):
        engine = EngineConfig("onnxruntime", threads=threads)
        lifter = open_skeleton_lifter(SkeletonLiftingConfig(model="trained_lifter", engine=engine))
        assert isinstance(lifter._engine.engine, SplitEngine) == (threads > 1)
        results.append(lifter.infer(lifter.prepare(frame_of(*people))))
    assert [skeleton.instance_id for skeleton in results[1].skeletons] == [0, 1, 2, 3, 4]
    for alone, together in zip(results[0].skeletons, results[1].skeletons, strict=True):
        np.testing.assert_allclose(together.joints, alone.joints, atol=1e-4)


def test_the_order_of_joints_changes_nothing_but_the_order(models: Path) -> None:
    from lift3d_ros.geometry.skeleton import SkeletonFacts
    from lift3d_ros.types import Keypoints2D, Skeleton

    lifter = open_skeleton_lifter(SkeletonLiftingConfig(model="small_lifter", engine=EngineConfig(threads=1)))
    _, keypoints = seen_person()
    order = np.random.default_rng(0).permutation(17)
    place_of = np.argsort(order)
    skeleton = COCO17.skeleton
    names = tuple(skeleton.joint_names[joint] for joint in order)
    facts = SkeletonFacts(Skeleton("shuffled", names, place_of[skeleton.edges], skeleton.sides[order]))
    shuffled = Keypoints2D(keypoints.points[order], skeleton="shuffled", instance_id=2)
    frame = frame_of(keypoints, shuffled, facts=facts, camera=None)
    first, second = lifter.infer(lifter.prepare(frame)).skeletons
    np.testing.assert_allclose(first.joints[order], second.joints, atol=1e-3)


def test_trained_weights_are_loaded_and_known_by_their_hash(models: Path) -> None:
    opened = open_lfm_engine("trained_lifter", EngineConfig(threads=1))
    assert opened.identity.is_trained
    assert opened.identity.weights_sha256 == find_model("trained_lifter").sha256


def test_what_is_no_lifter_is_refused(models: Path) -> None:
    with pytest.raises(WeightsError, match="is not a skeleton lifter"):
        open_lfm_engine("other", EngineConfig())
    with pytest.raises(WeightsError, match="header names method 'none'"):
        open_lfm_engine(str(models / "w.safetensors"), EngineConfig())
    with pytest.raises(WeightsError, match=r"nothing\.safetensors': no such file"):
        open_lfm_engine("nothing.safetensors", EngineConfig())
    with pytest.raises(EngineError, match="no such file"):
        open_lfm_engine("nothing.onnx", EngineConfig())
    with pytest.raises(EngineError, match="cannot run the exported graph"):
        open_lfm_engine("nothing.onnx", EngineConfig(backend="torch"))

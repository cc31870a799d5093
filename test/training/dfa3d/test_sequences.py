"""A sequence is detected as the vehicle would detect it, frame by frame with the memory of the frames before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from dfa3d_recipe import RECIPE, SMALL
from painted_street import fast_pack, painted_pack

from lift3d_ros.datasets.pack import PackReader, write_pack
from lift3d_ros.models.dfa3d.visibility import find_visible_pairs
from lift3d_ros.pipelines.box_decoding import decode_boxes
from lift3d_ros.training.dfa3d.module import Dfa3dModule
from lift3d_ros.training.dfa3d.network import build_trained_detector
from lift3d_ros.training.dfa3d.samples import PackedFrames
from lift3d_ros.training.dfa3d.sequences import SequenceBoxes, detect_sequences
from lift3d_ros.training.dfa3d.settings import Dfa3dTraining, load_recipe

CPU = torch.device("cpu")
# The small network starts at random, so nothing of its backbone is frozen.
CHANGES = (*SMALL, "preset=tiny", "network.backbone.architecture=resnet", "loss.frozen_stages=0")


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return painted_pack(tmp_path_factory.mktemp("painted") / "pack", num_scenes=3, num_frames=3)


def small(*more: str) -> Dfa3dTraining:
    return load_recipe(RECIPE, (*CHANGES, *more))


def detect(pack: Path, recipe: Dfa3dTraining, batch_size: int = 8) -> dict[tuple[str, int], SequenceBoxes]:
    frames = PackedFrames([PackReader(pack)], 1.0, CPU, grows=False, is_quiet=True)
    module = Dfa3dModule(build_trained_detector(recipe.network, 0), recipe)
    found = list(detect_sequences(module, frames, batch_size=batch_size))
    assert len(found) == frames.count == 9
    return {(item.scene, item.stamp_ns): item for item in found}


def test_boxes_are_those_of_the_network_run_frame_by_frame(pack: Path) -> None:
    recipe = small("network.reads_history_age=true", "network.motion.channels=4")
    network = build_trained_detector(recipe.network, 0).eval()
    found = detect(pack, recipe)
    samples = PackReader(pack).load("scene1")
    history, before = torch.zeros(1, recipe.network.num_cells, recipe.network.embed_dims), None
    for sample in samples:
        pairs = find_visible_pairs(sample.image_from_base, recipe.network)
        motion = np.eye(4) if before is None else np.linalg.inv(before.T_world_base) @ sample.T_world_base
        age = 0.0 if before is None else (sample.stamp_ns - before.stamp_ns) * 1e-9
        with torch.no_grad():
            logits, codes, history = network(
                torch.from_numpy(sample.images),
                torch.from_numpy(sample.image_from_base),
                *(torch.from_numpy(part) for part in (pairs.camera, pairs.cell, pairs.pairs_of_cell)),
                torch.from_numpy(motion.astype(np.float32))[None],
                torch.tensor([float(before is not None)]),
                history,
                history_age=torch.tensor([age]),
            )
        outputs = {"class_logits": logits.numpy(), "box_codes": codes.numpy()}
        expected = decode_boxes(outputs, recipe.network, "base_link")
        boxes = found["scene1", sample.stamp_ns].boxes
        np.testing.assert_allclose(boxes.scores, expected.scores, atol=1e-5)
        np.testing.assert_allclose(boxes.centers[:10], expected.centers[:10], atol=1e-3)
        before = sample
    assert len(samples) == 3


def test_fast_frames_use_the_map_that_is_as_old_as_in_training(tmp_path: Path) -> None:
    recipe = small("network.reads_history_age=true", "network.motion.channels=4", "network.history_s=0.2")
    module = Dfa3dModule(build_trained_detector(recipe.network, 0), recipe)
    frames = PackedFrames([PackReader(fast_pack(tmp_path / "pack", 5))], 1.0, CPU, grows=False, is_quiet=True)
    found = list(detect_sequences(module, frames))
    # Every second frame of a sequence with half the rate, and nothing else, is what the last one remembers.
    thinned = painted_pack(tmp_path / "thinned", 0)
    write_pack(thinned, "fast", PackReader(tmp_path / "pack").load("fast")[::2], None)
    slow = PackedFrames([PackReader(thinned)], 1.0, CPU, grows=False, is_quiet=True)
    expected = list(detect_sequences(module, slow))
    np.testing.assert_allclose(found[4].boxes.scores, expected[2].boxes.scores, atol=1e-5)
    np.testing.assert_allclose(found[4].boxes.velocities[:5], expected[2].boxes.velocities[:5], atol=1e-3)


def test_scenes_that_run_side_by_side_do_not_mix(pack: Path) -> None:
    together, alone = detect(pack, small(), 3), detect(pack, small(), 1)
    for key, item in alone.items():
        np.testing.assert_allclose(together[key].boxes.scores, item.boxes.scores, atol=1e-5)
        np.testing.assert_allclose(together[key].boxes.centers[:5], item.boxes.centers[:5], atol=1e-3)


def test_memory_changes_all_frames_of_a_scene_but_the_first(pack: Path) -> None:
    remembering, forgetting = detect(pack, small()), detect(pack, small("data.history_frames=0"))
    for (scene, stamp), item in remembering.items():
        is_first = stamp == min(other for name, other in remembering if name == scene)
        is_same = np.allclose(forgetting[scene, stamp].boxes.scores, item.boxes.scores, atol=1e-6)
        assert is_same == is_first


def test_pictures_that_only_fill_a_batch_up_change_nothing(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = detect(pack, small())
    monkeypatch.setattr(Dfa3dModule, "_filled_rows", lambda self, count: torch.arange(count + 3) % count)
    for key, item in detect(pack, small()).items():
        np.testing.assert_allclose(item.boxes.scores, alone[key].boxes.scores, atol=1e-5)
        np.testing.assert_allclose(item.boxes.centers, alone[key].boxes.centers, atol=1e-3)

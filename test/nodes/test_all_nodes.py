"""All four nodes on one recording, each with its shipped weights: boxes become crops, objects and sizes of others."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ros_system import run_to_its_end

pytest.importorskip("torch")
pytest.importorskip("trimesh")
pytest.importorskip("skimage")

from lift3d_ros.bags.write_scene import write_scene
from lift3d_ros.datasets.frames import Scene, SceneFrame, read_scene
from lift3d_ros.launching import PERCEPTION_NODES

pytestmark = [pytest.mark.ros, pytest.mark.launch, pytest.mark.slow, pytest.mark.timeout(600)]

CAMERA, FRAMES = "front", slice(6, 10)


def with_points(scene: Scene, folder: Path) -> Scene:
    """Return a scene with points on the sides of its labelled boxes."""

    def scanned(frame: SceneFrame) -> SceneFrame:
        boxes, rng = frame.boxes, np.random.default_rng(frame.index)
        assert boxes is not None
        sides = rng.uniform(-0.5, 0.5, (len(boxes), 200, 3))
        sides[:, ::2, 0], sides[:, 1::2, 1] = np.sign(sides[:, ::2, 0]) / 2, np.sign(sides[:, 1::2, 1]) / 2
        cos, sin = np.cos(boxes.yaws), np.sin(boxes.yaws)
        turn = np.stack([np.stack([cos, -sin], axis=1), np.stack([sin, cos], axis=1)], axis=1)
        local = sides * boxes.sizes[:, None]
        local[:, :, :2] = np.einsum("mij,mpj->mpi", turn, local[:, :, :2])
        xyz = (local + boxes.centers[:, None]).reshape(-1, 3).astype(np.float32)
        path = folder / f"{frame.index}.npz"
        np.savez(path, xyz=xyz, intensity=np.full(len(xyz), 20, dtype=np.uint8))
        return replace(frame, points_path=path)

    return replace(scene, frames=tuple(scanned(frame) for frame in scene.frames))


@pytest.mark.parametrize("options", [[], ["--one-process"]], ids=["own processes", "one process"])
def test_each_of_the_four_nodes_delivers_on_one_recording(
    options: list[str], repository: Path, tmp_path: Path, graph_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(repository / "tools"))
    recording = __import__("all_nodes_recording")
    whole = read_scene(repository / "demo" / "street")
    scene = with_points(replace(whole, frames=whole.frames[FRAMES]), tmp_path)
    write_scene(scene, tmp_path / "bag", keypoints={CAMERA: recording.pedestrian_keypoints(scene, CAMERA)})
    out, figures_file = tmp_path / "out", tmp_path / "figures.json"
    command = [sys.executable, str(repository / "tools" / "run_all_nodes.py"), "--bag", str(tmp_path / "bag")]
    command += ["--camera", CAMERA, "--rate", "0.1", "--out", str(out), "--json", str(figures_file), *options]
    status, output = run_to_its_end(command, timeout_s=540.0)
    logs = "".join(path.read_text(errors="replace") for path in out.glob("*.log"))
    assert status == 0, output + logs
    figures = json.loads(figures_file.read_text())
    assert set(figures["nodes"]) == set(PERCEPTION_NODES)
    assert all(node["messages"] > 0 for node in figures["nodes"].values())
    for process in [figures["perception"]] if options else figures["nodes"].values():
        assert process["peak_pss_mb"] >= process["peak_uss_mb"] > 50
        assert process["cpu_s"] > 0
        assert process["exit_status"] == 0
    assert list((out / "meshes").glob("*.glb"))

"""Where BEV queries sample: samples lie where the camera geometry says, and depth decides what is received."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.datasets.frames import Scene, SceneCamera, SceneFrame, SceneImage, frame_set, read_scene, write_meta  # noqa: E402
from lift3d_ros.errors import ConfigError, DatasetError  # noqa: E402
from lift3d_ros.geometry.camera import project  # noqa: E402
from lift3d_ros.geometry.rigid import invert, transform_points  # noqa: E402
from lift3d_ros.models.dfa3d.attention import DeformableAttention  # noqa: E402
from lift3d_ros.models.dfa3d.visibility import anchor_grid  # noqa: E402
from lift3d_ros.simulation.scene_folder import encode_jpeg  # noqa: E402
from lift3d_ros.types import Boxes3D, CameraView, FrameSet  # noqa: E402
from lift3d_ros.viz.sampling import (  # noqa: E402
    SampledFrame,
    choose_pair,
    depth_profile,
    figure_config,
    sample_frame,
)

MakeView = Callable[..., CameraView]
MakeBoxes = Callable[..., Boxes3D]
WALL_X = 13.3  # where cells have their centre
CAMERA = "front"


def wall(x: float = WALL_X, half_width: float = 6.0) -> np.ndarray:
    """Measured points (R, 3) on a wall across the road, and nothing else."""
    y, z = np.meshgrid(np.arange(-half_width, half_width, 0.1), np.arange(0.0, 3.5, 0.1))
    return np.stack([np.full(y.size, x), y.ravel(), z.ravel()], axis=1).astype(np.float32)


def view_with_picture(make_view: MakeView) -> CameraView:
    view = make_view()
    noise = np.random.default_rng(0).integers(0, 256, view.image.width * view.image.height * 3, dtype=np.uint8)
    return replace(view, image=replace(view.image, data=noise))


@pytest.fixture(scope="module")
def view(make_view: MakeView) -> CameraView:
    return view_with_picture(make_view)


@pytest.fixture(scope="module")
def frame(view: CameraView) -> SampledFrame:
    return sample_frame(FrameSet(0, {CAMERA: view}), wall(), figure_config())


def test_anchors_lie_where_the_camera_sees_the_pillars(frame: SampledFrame, view: CameraView) -> None:
    pillars = anchor_grid(frame.config)[frame.cell].reshape(-1, 3)
    in_camera = transform_points(invert(view.T_base_cam), pillars)
    pixels, is_valid = project(view.model, in_camera)
    scale = frame.config.image_width / view.model.width
    cropped = view.model.height * scale - frame.config.image_height
    expected = scale * (pixels + 0.5) - 0.5 - [0.0, cropped]
    anchors = frame.anchors.reshape(-1, 3)
    np.testing.assert_allclose(anchors[is_valid, :2], expected[is_valid], rtol=1e-4, atol=0.05)
    np.testing.assert_allclose(anchors[is_valid, 2], in_camera[is_valid, 2], atol=1e-3)
    assert is_valid.mean() > 0.9


def test_each_sample_starts_from_the_anchor_of_its_number(frame: SampledFrame) -> None:
    num_anchors = frame.anchors.shape[1]
    offsets = frame.samples - frame.anchors[:, np.arange(frame.samples.shape[1]) % num_anchors]
    stride = 16
    np.testing.assert_allclose(
        np.abs(offsets[..., :2]).max(axis=2), np.tile(stride * (np.arange(16) % 4 + 1), (len(offsets), 1)), atol=0.1
    )


def test_shares_are_what_the_attention_of_the_network_lets_through(frame: SampledFrame) -> None:
    """With features that are one everywhere the output of the network's module is the share."""
    config = frame.config
    attention = DeformableAttention(32, config.num_heads, config.num_levels, config.num_points, has_depth=True)
    with torch.no_grad():
        attention.value_proj.weight.zero_()
        attention.value_proj.bias.fill_(1.0)
        bins, height, width = frame.depth_scores.shape[1:]
        scores = torch.from_numpy(frame.depth_scores).flatten(2).transpose(1, 2)
        near, far = config.depth.range
        scale = [config.image_width, config.image_height, far - near]
        places = (frame.anchors + np.array([0.5, 0.5, -near])) / scale
        reference = torch.from_numpy(places.astype(np.float32))[None]
        query, value = torch.randn(1, len(frame.cell), 32), torch.randn(1, height * width, 32)
        deep = attention(query, value, reference, [(height, width)], scores)
        flat = attention(query, value, reference[..., :2], [(height, width)])
    assert bins == config.depth.num_bins
    np.testing.assert_allclose(deep[0].mean(1), frame.share, atol=1e-3)
    np.testing.assert_allclose(flat[0].mean(1), frame.share_2d, atol=1e-3)


def test_only_the_query_on_the_wall_receives_features(frame: SampledFrame) -> None:
    pair = choose_pair(frame)
    surface, other = frame.anchors[pair.surface, pair.surface_anchor], frame.anchors[pair.other, pair.other_anchor]
    assert abs(surface[2] - WALL_X) < 1.3
    assert abs(other[2] - surface[2]) > 5.0
    assert np.linalg.norm(other[:2] - surface[:2]) < 16.0  # the same cell of the feature map, or the next one
    assert frame.share[pair.surface] > 0.3
    assert frame.share[pair.other] < 0.05
    assert frame.share_2d[pair.surface] == pytest.approx(frame.share_2d[pair.other], abs=0.1)
    assert frame.share_2d[pair.other] > 0.8


def test_depth_scores_are_high_at_the_wall_and_zero_elsewhere(frame: SampledFrame) -> None:
    middle = frame.config.image_width / 2
    depths, scores = depth_profile(frame, 0, (middle, 70.0))
    assert len(depths) == frame.config.depth.num_bins
    is_near = np.abs(depths - WALL_X) < 1.0
    np.testing.assert_allclose(scores[is_near], 1.0, atol=1e-3)
    assert scores[np.abs(depths - WALL_X) > 1.8].max() == 0.0
    _, beside = depth_profile(frame, 0, (5.0, 70.0))  # left of the wall nothing was measured
    assert beside.max() == 0.0


def test_measured_points_are_kept_with_their_pixels(frame: SampledFrame) -> None:
    returns = frame.returns[CAMERA]
    assert len(returns) > 1000
    np.testing.assert_allclose(returns[:, 2], WALL_X, atol=1e-3)
    assert np.ptp(returns[:, 0]) == pytest.approx(12.0 / WALL_X * 400 * 704 / 640, abs=5.0)


def test_the_query_lies_in_a_labelled_object_where_there_are_labels(frame: SampledFrame, make_boxes: MakeBoxes) -> None:
    boxes = make_boxes((WALL_X, 5.0))
    x, y = frame.outline(int(frame.cell[choose_pair(frame, boxes).surface])).mean(axis=0)
    assert abs(x - WALL_X) < 2.0
    assert abs(y - 5.0) < 1.1
    with pytest.raises(DatasetError, match="try another place"):
        choose_pair(frame, make_boxes((30.0, 5.0)))


def test_a_place_and_a_pixel_choose_the_query(frame: SampledFrame) -> None:
    pair = choose_pair(frame, place=(WALL_X, -3.0))
    np.testing.assert_allclose(frame.outline(int(frame.cell[pair.surface])).mean(axis=0), (WALL_X, -3.0), atol=1.1)
    u, v, _ = frame.anchors[pair.surface, pair.surface_anchor]
    again = choose_pair(frame, camera=CAMERA, pixel=(u + 2.0, v - 2.0))
    assert frame.cell[again.surface] == frame.cell[pair.surface]


@pytest.mark.parametrize(
    ("choice", "error", "text"),
    [
        ({"camera": "frnt"}, ConfigError, "did you mean 'front'"),
        ({"pixel": (300.0, 70.0)}, ConfigError, "name of the camera"),
        ({"place": (80.0, 0.0)}, ConfigError, "outside of the BEV grid"),
        ({"place": (30.0, 0.0)}, DatasetError, "try another place"),
        ({"camera": CAMERA, "pixel": (5.0, 70.0)}, DatasetError, "measured surface"),
    ],
)
def test_a_choice_without_a_pair_says_what_to_do(
    frame: SampledFrame, choice: dict[str, object], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        choose_pair(frame, **choice)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["nc_nuscenes_scene0061", "nc_dgp_scene02", "nc_kitti_000008"])
def test_on_real_frames_the_first_query_lies_where_the_lidar_measured(name: str, shared_dir: Path) -> None:
    directory = shared_dir / "data" / "driving" / name
    if not directory.is_dir():
        pytest.skip(f"no scene: {directory} does not exist")
    scene = read_scene(directory)
    first = scene.frames[0]
    assert first.points_path is not None
    points = np.load(first.points_path)["xyz"]
    frame = sample_frame(frame_set(scene, first), points, figure_config())
    pair = choose_pair(frame, first.boxes)
    u, v, depth = frame.anchors[pair.surface, pair.surface_anchor]
    returns = frame.returns[frame.cameras[frame.camera[pair.surface]]]
    near = returns[np.hypot(returns[:, 0] - u, returns[:, 1] - v) < 16.0]
    assert len(near) > 3
    assert np.abs(near[:, 2] - depth).min() < 1.5
    assert frame.share[pair.surface] > 5 * frame.share[pair.other]


def test_the_tool_draws_a_scene_folder(
    make_view: MakeView, make_boxes: MakeBoxes, repository: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install -e '.[viz]'")
    view = view_with_picture(make_view)
    picture = tmp_path / "images" / CAMERA / "0000.jpg"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(encode_jpeg(view.image.data.reshape(view.image.height, -1, 3), 90).tobytes())
    lidar = tmp_path / "lidar" / "0000.npz"
    lidar.parent.mkdir()
    points = wall()
    np.savez(lidar, xyz=points, intensity=np.zeros(len(points), np.uint8))
    first = SceneFrame(0, 10**18, np.eye(4), {CAMERA: SceneImage(picture, 10**18)}, make_boxes((WALL_X, 1.0)), lidar)
    cameras = {CAMERA: SceneCamera(view.model, view.T_base_cam)}
    write_meta(Scene("wall", "", "", cameras, (first,)), tmp_path, original_size=(640, 360))

    def tool(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(repository / "tools" / "draw_sampling.py"), str(tmp_path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=repository)

    drawn = tool("--out", str(tmp_path / "figure.png"))
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "figure.png").read_bytes()[:4] == b"\x89PNG"
    assert "camera front: surface (13.3" in drawn.stdout
    document = json.loads((tmp_path / "meta.json").read_text(encoding="utf-8"))
    del document["frames"][0]["lidar"]
    (tmp_path / "meta.json").write_text(json.dumps(document), encoding="utf-8")
    refused = tool("--out", str(tmp_path / "other.png"))
    assert refused.returncode == 2
    assert "has no LiDAR points" in refused.stderr


@pytest.mark.slow  # renders the street
def test_the_command_of_the_documentation_draws_its_figure(repository: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install -e '.[viz]'")
    text = (repository / "docs" / "dfa3d.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"python (tools/draw_sampling.py .*) --out FILE.jpg", text)
    figure = tmp_path / "figure.jpg"
    drawn = subprocess.run(
        [sys.executable, *command.split(), "--out", str(figure)], capture_output=True, text=True, cwd=repository
    )
    if "moderngl" in drawn.stderr or "OpenGL" in drawn.stderr:
        pytest.skip(drawn.stderr)
    assert drawn.returncode == 0, drawn.stderr
    assert "camera front: surface (11.3, -5.1) m takes 0.40" in drawn.stdout
    assert figure.read_bytes()[:2] == b"\xff\xd8"

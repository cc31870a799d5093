"""Published layouts can be trained and fine-tuned: pictures without whole cells, motion as can_bus."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from painted_street import painted_sample
from safetensors.torch import save_file

from lift3d_ros.cli.main import main
from lift3d_ros.datasets.labelled import LabelledSet
from lift3d_ros.datasets.pack import PackFacts, PackReader, create_pack, write_pack
from lift3d_ros.datasets.prepared import prepare_sample
from lift3d_ros.engines.torch_engine import TorchEngine
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import rpy_matrix
from lift3d_ros.images.preprocess import InputSpec
from lift3d_ros.models.dfa3d.config import NUSCENES_CAMERAS, NUSCENES_CLASSES
from lift3d_ros.models.dfa3d.detector import build_detector
from lift3d_ros.pipelines.bev_detection import BevDetector, DetectorConfig
from lift3d_ros.pipelines.bev_engine import BevEngine
from lift3d_ros.pipelines.bev_graph import bev_signature
from lift3d_ros.training.dfa3d.assembly import assemble
from lift3d_ros.training.dfa3d.order import Window
from lift3d_ros.training.dfa3d.samples import PackedFrames
from lift3d_ros.training.dfa3d.settings import Dfa3dTraining, load_recipe
from lift3d_ros.types import (
    Boxes3D,
    CameraImage,
    CameraModel,
    CameraView,
    EgoMotion,
    Float64Array,
    FrameSet,
    ModelIdentity,
)

RECIPE = Path(__file__).resolve().parents[3] / "config" / "training" / "dfa3d_finetune.yaml"
ONE_STEP = (
    "run.max_steps=1",
    "run.accumulation=1",
    "run.validation_interval=0",
    "run.device=cpu",
    "run.log_interval=1",
)
FEW = (
    "network.num_queries=20", "network.bev_height=12", "network.bev_width=12", "network.rotation_center=[6,6]",
    "network.num_encoder_layers=1", "network.num_decoder_layers=2",
)  # fmt: skip
THIN = (
    "preset=dfa3d-small", "network.image_width=320", "network.image_height=180", "network.backbone.depth=50",
    "network.backbone.width=8", "network.embed_dims=32", "network.ffn_dims=64", "network.depth.channels=16",
)  # fmt: skip


def pack_of(folder: Path, recipe: Dfa3dTraining, num_cameras: int) -> Path:
    size = (recipe.network.image_width, recipe.network.image_height)
    create_pack(folder, PackFacts(*size, NUSCENES_CLASSES, "painted", None))
    frames = [painted_sample("scene", index, 0, num_cameras, size=size) for index in range(2)]
    write_pack(folder, "scene", [dataclasses.replace(f, cameras=NUSCENES_CAMERAS[:num_cameras]) for f in frames], 80)
    return folder


@pytest.mark.parametrize(
    ("changes", "num_cameras"),
    [(("preset=bevformer-tiny", "data.history_frames=0", *FEW), 1), ((*THIN, *FEW), 3)],
    ids=["bevformer-tiny", "shrunk dfa3d-small"],
)
def test_published_layouts_are_fine_tuned_from_their_weights(
    changes: tuple[str, ...], num_cameras: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [*changes, *ONE_STEP]
    recipe = load_recipe(RECIPE, settings)
    assert recipe.network.image_height % 16
    weights = build_detector(recipe.network, 3).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, tmp_path / "published.safetensors")
    pack, out = pack_of(tmp_path / "pack", recipe, num_cameras), tmp_path / "out"
    command = ["train", "dfa3d", "--config", str(RECIPE), "--data", str(pack), "--out", str(out), "--set", *settings]
    assert main([*command, "--init-from", str(tmp_path / "published.safetensors")]) == 0
    text = capsys.readouterr()
    assert f"{len(weights)} tensors taken" in text.out
    assert "WARNING" not in text.err
    losses = (out / "losses.csv").read_text()
    assert "loss_bbox" in losses
    assert "nan" not in losses
    assert ("loss_depth" in losses) == (recipe.network.depth.source == "aspp")


class Recording:
    """An engine that notes what it is given."""

    def __init__(self, engine: TorchEngine) -> None:
        self._engine = engine
        self.inputs: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, inputs: dict[str, Any], state: Any) -> Any:
        self.inputs.append(dict(inputs))
        return self._engine.run(inputs, state)


def drive() -> list[LabelledSet]:
    """Frames of a bend with velocities of the vehicle; one without velocity, and one after a long gap."""
    K = np.array([[220.0, 0.0, 160.0], [0.0, 220.0, 80.0], [0.0, 0.0, 1.0]])
    T_base_cam = make_transform(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), [1.7, 0.0, 1.5])
    boxes = Boxes3D.empty("base_link", ("car",))
    sets = []
    for index, seconds in enumerate((0.0, 0.5, 1.0, 9.0)):
        stamp_ns = 1_000_000_000 + round(seconds * 1e9)
        pixels = np.random.default_rng(index).integers(0, 256, 320 * 180 * 3, dtype=np.uint8)
        image = CameraImage("front", stamp_ns, "front_optical", "rgb8", pixels, 320, 180, 960)
        views = {"front": CameraView(image, CameraModel("front", "front_optical", 320, 180, K), T_base_cam)}
        pose = make_transform(rpy_matrix(0.0, 0.01, 6.0 + 0.4 * seconds), [8.0 * seconds, 0.3 * seconds, 0.0])
        speed: tuple[Float64Array, ...] = (np.array([8.0, 0.2, 0.0]), np.array([0.0, 0.01, 0.4]))
        ego = EgoMotion(stamp_ns, pose, "map", *(speed if index != 1 else ()))
        sets.append(LabelledSet("bend", FrameSet(stamp_ns, views, ego=ego), boxes))
    return sets


def test_the_motion_that_training_gives_as_can_bus_is_that_of_the_detector(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPE, [*THIN, *FEW, "data.history_frames=1", "data.drops_one=false"])
    network = build_detector(recipe.network, 0)
    recording = Recording(TorchEngine(network, bev_signature(recipe.network, 1, None), "cpu", 1, "float32"))
    detector = BevDetector(
        BevEngine(recording, recipe.network, ModelIdentity("test", "", is_trained=False, backend="torch")),
        DetectorConfig(max_gap_s=recipe.data.max_gap_s),
    )
    sets = drive()
    for one in sets:
        detector.infer(detector.prepare(one.frame_set))
    spec = InputSpec(recipe.network.image_width, recipe.network.image_height)
    folder = tmp_path / "pack"
    create_pack(folder, PackFacts(spec.width, spec.height, NUSCENES_CLASSES, "bend", None))
    prepared = [prepare_sample(one, spec, NUSCENES_CLASSES, index=index) for index, one in enumerate(sets)]
    write_pack(folder, "bend", prepared, None)
    source = PackedFrames([PackReader(folder)], 1.0, torch.device("cpu"), grows=False, is_quiet=True)
    windows = [Window((max(0, index - 1), index), index) for index in range(len(sets))]
    _, samples = next(source.load(iter([windows])))
    last = assemble(windows, samples, source, recipe, is_training=False).frames[-1]
    expected = np.concatenate([inputs["ego"] for inputs in recording.inputs])
    np.testing.assert_allclose(last.ego, expected, atol=1e-6)
    assert last.history_valid.tolist() == [inputs["history_valid"][0] for inputs in recording.inputs]
    assert last.history_valid.tolist() == [0.0, 1.0, 1.0, 0.0]
    assert float(last.ego[2, 13]) == pytest.approx(8.0)
    for row, inputs in enumerate(recording.inputs):
        np.testing.assert_allclose(last.image_from_model[row], inputs["image_from_model"][0], rtol=1e-5, atol=1e-4)
        np.testing.assert_array_equal(last.images[row], inputs["images"][0])

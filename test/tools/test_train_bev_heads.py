"""The training of heads alone ends with weights of the whole detector, and says what is wrong in a sentence."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("lightning")

from dfa3d_recipe import RECIPE, SMALL  # noqa: E402
from painted_street import painted_pack  # noqa: E402
from safetensors import safe_open  # noqa: E402

from lift3d_ros.training.dfa3d.network import build_trained_detector, detector_weights  # noqa: E402
from lift3d_ros.training.dfa3d.settings import load_recipe  # noqa: E402
from lift3d_ros.training.export import write_weights  # noqa: E402

TOOL = Path(__file__).resolve().parents[2] / "tools" / "train_bev_heads.py"
CHANGES = (
    *SMALL, "preset=tiny", "network.backbone.architecture=resnet", "loss.frozen_stages=0",
    "network.reads_history_age=true", "network.motion.channels=4",
)  # fmt: skip


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    spec = importlib.util.spec_from_file_location("train_bev_heads", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["train_bev_heads", *arguments])
    return int(module.main())


def test_a_start_that_leaves_the_maps_at_random_is_refused_or_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = build_trained_detector(load_recipe(RECIPE, CHANGES).network, 3).state_dict()
    for part in ("backbone", "neck"):
        own = {name: tensor for name, tensor in weights.items() if name.startswith(f"{part}.")}
        write_weights(tmp_path / f"{part}.safetensors", own, {"method": "dfa3d"}, is_half=False)
    where = ["--data", str(tmp_path / "absent"), "--out", str(tmp_path), "--config", str(RECIPE), "--set", *CHANGES]
    assert run(monkeypatch, *where, "--init-from", str(tmp_path / "backbone.safetensors")) == 2
    assert "backbone.safetensors: holds a picture backbone alone" in capsys.readouterr().err
    assert run(monkeypatch, *where, "--init-from", str(tmp_path / "neck.safetensors")) == 2
    warning, error = capsys.readouterr().err.strip().splitlines()
    assert "warning" in warning
    assert "tensors of the network were found in it" in warning
    assert "absent" in error


def test_heads_of_a_detector_are_trained_on_a_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = painted_pack(tmp_path / "pack", num_scenes=2, num_frames=2)
    network = build_trained_detector(load_recipe(RECIPE, CHANGES).network, 3)
    start = tmp_path / "start.safetensors"
    write_weights(start, detector_weights(network.state_dict()), {"method": "dfa3d"}, is_half=False)
    where = ["--data", str(pack), "--init-from", str(start), "--config", str(RECIPE), "--set", *CHANGES]
    command = [*where, "--out", str(tmp_path / "out"), "--steps", "3", "--batch", "2"]
    assert run(monkeypatch, *command) == 0
    with safe_open(str(tmp_path / "out" / "weights.safetensors"), "pt") as file:
        assert json.loads(file.metadata()["heads"])["steps"] == 3
        assert set(file.keys()) == set(detector_weights(network.state_dict()))
        kept, trained = "neck.lateral_convs.0.weight", "motion.prior.weight"
        torch.testing.assert_close(file.get_tensor(kept).float(), network.state_dict()[kept], rtol=1e-3, atol=1e-3)
        assert not torch.equal(file.get_tensor(trained).float(), network.state_dict()[trained].half().float())
    assert run(monkeypatch, *command) == 2
    assert "is there already; name another --out" in capsys.readouterr().err
    assert run(monkeypatch, *command[:-4], "--steps", "0") == 2
    assert "expected at least 1" in capsys.readouterr().err

"""First weights: published picture backbones, other weights of ours, and what is said of them."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import pytest
import torch
from dfa3d_recipe import small_recipe
from painted_street import painted_pack
from safetensors.torch import save_file

from lift3d_ros.errors import ConfigError, WeightsError
from lift3d_ros.training.dfa3d.network import TrainedDetector, build_trained_detector
from lift3d_ros.training.dfa3d.start import check_frozen, start_from
from lift3d_ros.training.dfa3d.train import train

LITE = "network.backbone.architecture=efficientnet_lite0"


def lite(stages: int = 2) -> TrainedDetector:
    return build_trained_detector(small_recipe(LITE).network, 0, stages)


def published_backbone(path: Path) -> dict[str, torch.Tensor]:
    """Write a classifier with the names of the published ones: an underscore before each module."""
    state = {}
    for name, tensor in lite().backbone.state_dict().items():
        first, *middle, last = name.split(".")
        parts = [f"_{part}" if not part.isdecimal() else part for part in (first, *middle)]
        state[".".join([*parts, last])] = torch.rand_like(tensor.float()).to(tensor.dtype)
    state |= {"_fc.weight": torch.rand(10, 4), "_fc.bias": torch.rand(10)}
    torch.save(state, path)
    return state


def test_a_published_backbone_is_taken_without_its_classifier(tmp_path: Path) -> None:
    path = tmp_path / "published.pth"
    state = published_backbone(path)
    network = lite()
    report = start_from(network, str(path))
    assert report.taken == len(state) - 2
    assert report.unused == ("backbone.fc.weight", "backbone.fc.bias")
    assert torch.equal(network.state_dict()["backbone.conv_stem.weight"], state["_conv_stem.weight"])
    assert torch.equal(network.state_dict()["backbone.blocks.3.bn1.running_mean"], state["_blocks.3._bn1.running_mean"])
    assert report.warning is None, "a backbone is less than half of the network, and meant to be"
    assert "of a picture backbone; the rest of the network starts at random" in report.describe()
    assert "not in this network, left out: backbone.fc.weight, backbone.fc.bias" in report.describe()
    check_frozen(network, report)


class _Command:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code of a weights file was run')",)


def test_a_pickled_object_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"_conv_stem.weight": _Command()}, tmp_path / "new.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps(_Command(), protocol=2))
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("new.pth", "old.pth", "list.pth", "absent.pth"):
        with pytest.raises(WeightsError, match=name):
            start_from(lite(), str(tmp_path / name))


def test_stages_that_start_at_random_are_not_frozen(tmp_path: Path) -> None:
    network = lite()
    with pytest.raises(ConfigError, match=r"loss.frozen_stages is 2.*--init-from.*loss.frozen_stages=0"):
        check_frozen(network, None)
    save_file({"backbone.conv_stem.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "stem.safetensors")
    with pytest.raises(ConfigError, match=r"'backbone.blocks.0.* would start at random"):
        check_frozen(network, start_from(network, str(tmp_path / "stem.safetensors")))
    check_frozen(lite(0), None)


def test_a_start_from_weights_of_another_network_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = build_trained_detector(small_recipe(LITE).network, 0).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "other.safetensors")
    recipe = small_recipe("run.max_steps=1", "network.embed_dims=64", "run.device=cpu")
    with caplog.at_level(logging.WARNING, logger="lift3d_ros"):
        train(
            recipe, [painted_pack(tmp_path / "pack", 1)], [], tmp_path / "out",
            init_from=str(tmp_path / "other.safetensors"), is_quiet=True,
        )  # fmt: skip
    assert "of the network were found in it" in caplog.text
    assert "--set preset=NAME" in caplog.text

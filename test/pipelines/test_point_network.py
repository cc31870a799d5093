"""A point encoder is found by the name of a model, by a file of a training, or made untrained."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from i2p_mae_networks import small_config, small_network  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from lift3d_ros.errors import ConfigError, WeightsError  # noqa: E402
from lift3d_ros.pipelines.point_network import find_points, load_point_network, untrained_points  # noqa: E402

MANIFEST = """\
models:
  points: {method: i2p_mae, preset: lift3d-points-small-pretrain, licence: Apache-2.0, source: a test, seed: 2}
  lifter: {method: lfm, preset: lift3d-lfm-small, licence: Apache-2.0, source: a test}
"""


def write(path: Path, head: Any = "reconstruction", **header: str) -> Path:
    config = small_config(head)
    facts = {"method": "i2p_mae", "stage": "pretrain", "network": json.dumps(dataclasses.asdict(config)), **header}
    save_file(small_network(config).state_dict(), str(path), metadata=facts)
    return path


@pytest.mark.parametrize("head", ["reconstruction", "none", "classification", "part_segmentation"])
def test_the_encoder_of_any_training_is_found_in_its_file(head: Any, tmp_path: Path) -> None:
    source = find_points(str(write(tmp_path / "run.safetensors", head)))
    network, identity = load_point_network(source)
    assert (source.config.head, identity.name, identity.is_trained) == ("none", "run", True)
    expected = small_network(small_config(head)).state_dict()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, expected[name])
    assert not network.training


def test_a_model_of_the_manifest_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "manifest.yaml").write_text(MANIFEST)
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path))
    network, identity = load_point_network(find_points("points"))
    assert identity.description == "points (untrained weights)"
    assert torch.equal(
        network.state_dict()["encoder.positions.0.0.weight"],
        load_point_network(untrained_points("lift3d-points-small", 2))[0].state_dict()["encoder.positions.0.0.weight"],
    )
    with pytest.raises(WeightsError, match="method 'lfm' with preset 'lift3d-lfm-small' is no point encoder"):
        find_points("lifter")


def test_files_that_are_no_weights_of_an_encoder_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    for path, words in (
        (tmp_path / "none.safetensors", "no such file"),
        (tmp_path / "bad.safetensors", "cannot be read as safetensors"),
        (write(tmp_path / "lfm.safetensors", method="lfm"), "its header names method 'lfm' and a 'network'"),
        (write(tmp_path / "cut.safetensors", network="{"), "and no 'network'; expected weights that"),
        (write(tmp_path / "teacher.safetensors", stage="teacher"), "holds a 2D teacher"),
        (write(tmp_path / "old.safetensors", network='{"width": 3}'), "belongs to another release"),
    ):
        with pytest.raises(WeightsError, match=words):
            find_points(str(path))


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    wide = json.dumps(dataclasses.asdict(small_config(dims=(12, 18, 30))))
    with pytest.raises(WeightsError, match="weights of the encoder have another shape"):
        load_point_network(find_points(str(write(tmp_path / "a.safetensors", "none", network=wide))))


def test_an_unknown_preset_is_named_with_its_neighbour() -> None:
    with pytest.raises(ConfigError, match="did you mean 'lift3d-points-small'"):
        untrained_points("lift3d-point-small")

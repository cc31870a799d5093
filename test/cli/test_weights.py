"""`lift3d weights` imports a published checkpoint, lists it and verifies it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lift3d_ros.cli import weights
from lift3d_ros.errors import WeightsError
from lift3d_ros.weights import published, verify
from lift3d_ros.weights.manifest import find_model, verified_weights_path

TINY = {"backbone.conv1.weight": (4, 3, 7, 7), "level_embedding": (4, 8)}
CHECKPOINT = {"img_backbone.conv1.weight": (4, 3, 7, 7), "pts_bbox_head.transformer.level_embeds": (4, 8)}


def run(*arguments: str | Path) -> int:
    """Run the verb without the other verbs; errors come out as the main command gets them."""
    parser = argparse.ArgumentParser(prog="lift3d")
    weights.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["weights", *map(str, arguments)])
    return int(args.run(args))


@pytest.fixture
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of two weights, and networks of the same two."""
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    whole = published.network_shapes

    def shapes(preset: str) -> Mapping[str, tuple[int, ...]]:
        return whole(preset) if preset.startswith("lift3d-") else TINY  # shipped weights are verified, too

    for module in (published, verify):
        monkeypatch.setattr(module, "network_shapes", shapes)
    return save(tmp_path / "published.pth", CHECKPOINT)


def save(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Path:
    import torch

    torch.save({"meta": {}, "state_dict": {name: torch.zeros(shape) for name, shape in shapes.items()}}, path)
    return path


def test_import_list_and_verify(own_models: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", checkpoint, "--as", "bevformer-tiny") == 0
    out = capsys.readouterr().out
    entry = find_model("bevformer-tiny")
    path = verified_weights_path("bevformer-tiny", entry)
    assert path is not None
    assert path.parent == own_models
    assert f"weights: {path} (2 tensors" in out
    assert f"SHA-256: {entry.sha256}" in out
    assert "licence: Apache-2.0 as code; weights trained on nuScenes, non-commercial" in out
    assert "left out, beside the weights: meta" in out
    assert "note: the weights fit dfa3d-small and " in out, "networks of this test are all the same"
    assert out.endswith("use it: lift3d replay BAG --model bevformer-tiny --out results\n")

    assert run("list") == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert rows["name"].split() == ["name", "method", "preset", "trained", "size", "licence", "where"]
    assert "non-commercial" in rows["bevformer-tiny"]
    assert rows["bevformer-tiny"].endswith(str(path))
    assert rows["bevformer-tiny"].split()[1:4] == ["dfa3d", "bevformer-tiny", "yes"]
    assert rows["dfa3d_tiny"].split()[1:3] == ["dfa3d", "tiny"]

    assert run("verify") == 0
    out = capsys.readouterr().out
    assert "ok     bevformer-tiny: hash ok, 2 tensors fit the network" in out
    assert "dfa3d_tiny: " in out


def test_verify_fails_with_the_reason(own_models: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", checkpoint, "--as", "bevformer-tiny", "--name", "mine") == 0
    path = verified_weights_path("mine", find_model("mine"))
    assert path is not None
    path.write_bytes(path.read_bytes() + b"!")
    capsys.readouterr()
    assert run("verify", "mine") == 1
    out = capsys.readouterr().out
    assert out.startswith(f"FAILED mine: {path}: SHA-256 is")
    assert len(out.splitlines()) == 1, "only the model that was named is verified"
    path.unlink()
    assert run("verify", "mine") == 1
    assert run("list") == 0
    assert "warning: model 'mine':" in capsys.readouterr().out


def test_verify_of_an_unknown_model_suggests_the_nearest(own_models: Path) -> None:
    with pytest.raises(WeightsError, match="did you mean 'dfa3d_tiny'"):
        run("verify", "dfa3d_tny")


def test_a_folder_of_ones_own_is_named_in_the_last_line(
    own_models: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "elsewhere"
    arguments = ["import", checkpoint, "--as", "dfa3d-base", "--name", "mine", "--models-dir", folder]
    assert run(*arguments, "--licence", "mine alone") == 0
    out = capsys.readouterr().out
    assert out.endswith(f"use it: LIFT3D_MODELS_DIR={folder} lift3d replay BAG --model mine --out results\n")
    assert "licence: mine alone" in out
    assert not own_models.exists()
    with pytest.raises(WeightsError, match="--overwrite"):
        run(*arguments)
    assert run(*arguments, "--overwrite") == 0


def test_an_import_that_fails_writes_nothing(own_models: Path, checkpoint: Path) -> None:
    save(checkpoint, {**CHECKPOINT, "img_backbone.fc.weight": (3,)})
    with pytest.raises(WeightsError, match=r"does not fit dfa3d-base, nothing was written(.|\n)*img_backbone\.fc"):
        run("import", checkpoint, "--as", "dfa3d-base")
    with pytest.raises(WeightsError, match="belongs to a model of the package"):
        run("import", checkpoint, "--as", "dfa3d-base", "--name", "dfa3d_tiny", "--overwrite")
    assert not own_models.exists()


def test_models_that_clash_with_the_package_are_listed_with_a_warning(
    own_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_models.mkdir()
    (own_models / "manifest.yaml").write_text(
        "models:\n  dfa3d_tiny: {method: dfa3d, preset: tiny, licence: mine, source: me}\n"
    )
    assert run("list") == 0
    assert "warning: " in capsys.readouterr().out
    assert run("verify") == 1
    assert "FAILED dfa3d_tiny: " in capsys.readouterr().out


def test_a_published_network_of_full_size_is_imported_and_loaded_back(
    own_models: Path, shared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from safetensors.torch import load_file

    from lift3d_ros.models.dfa3d.config import preset
    from lift3d_ros.models.dfa3d.detector import Dfa3dDetector
    from lift3d_ros.models.dfa3d.published_keys import our_key

    table = json.loads((shared_dir / "reference" / "dfa3d_keys_small.json").read_text())["keys"]
    state: dict[str, Any] = {}
    for name, shape in table.items():
        is_counter = name.endswith("num_batches_tracked")
        state[f"module.{name}"] = torch.tensor(5) if is_counter else torch.randn(shape)
    torch.save({"meta": {"epoch": 24}, "state_dict": state}, tmp_path / "small.pth")

    assert run("import", tmp_path / "small.pth", "--as", "dfa3d-small") == 0
    assert run("verify", "dfa3d-small") == 0
    path = verified_weights_path("dfa3d-small", find_model("dfa3d-small"))
    config = preset("dfa3d-small")
    assert path is not None
    assert config is not None
    network = Dfa3dDetector(config)
    network.load_state_dict(load_file(path), strict=True)
    loaded = network.state_dict()
    for name in table:
        ours = our_key(name)
        assert ours is None or torch.equal(loaded[ours], state[f"module.{name}"]), name
    out = capsys.readouterr().out
    assert f"{len(loaded)} tensors fit the network" in out
    assert "note:" not in out


@pytest.mark.parametrize("action", [[], ["import"], ["list"], ["verify"]])
def test_help_teaches_by_example(action: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*action, "--help")
    assert caught.value.code == 0
    assert f"lift3d weights {' '.join(action) or 'import'}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["import"], ["import", "x.pth"], ["import", "x.pth", "--as", "tiny"]])
def test_wrong_use_exits_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2


def test_added_weights_of_the_lifter_name_its_command(
    own_models: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    weights = repository / "models" / "lift3d-lfm.safetensors"
    assert run("add", weights, "--as", "lift3d-lfm-medium", "--name", "my-lifter") == 0
    assert "lift3d lift KEYPOINTS.json --model my-lifter" in capsys.readouterr().out
    assert find_model("my-lifter").method == "lfm"

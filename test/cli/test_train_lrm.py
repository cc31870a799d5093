"""`lift3d train lrm` renders meshes into a pack, trains on it, and says what comes next."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("trimesh")

from object_folders import SMALL_NETWORK, renderer_or_skip, write_mesh_folder

from lift3d_ros.cli.main import main

RENDER = ("render.views=3", "render.points=1000", "render.changed=1", "render.made=1")


def test_meshes_become_a_pack_and_a_pack_becomes_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with renderer_or_skip(8):
        pass
    meshes, pack, out = write_mesh_folder(tmp_path / "meshes"), tmp_path / "pack", tmp_path / "run"
    recipe = ["--set", *SMALL_NETWORK, *RENDER, "run.max_steps=2"]
    assert main(["train", "lrm", "--data", str(meshes), "--pack", str(pack), *recipe]) == 0
    assert f"{pack}: 5 objects" in capsys.readouterr().out  # two meshes, a copy of each, one made
    assert main(["train", "lrm", "--data", str(pack), "--out", str(out), *recipe, "--half"]) == 0
    told = capsys.readouterr().out
    assert "trained on 5 objects" in told
    assert "finished at step 2" in told
    assert "its network differs from the preset" in told
    assert (out / "weights.safetensors").is_file()
    again = ["train", "lrm", "--data", str(pack), "--out", str(tmp_path / "again"), *recipe, "--init-from"]
    assert main([*again, "lift3d-lrm-tiny"]) == 2  # found by its name, and of another network
    assert "lift3d-lrm-tiny.safetensors: " in (told := capsys.readouterr().err)
    assert "tensors do not fit this network" in told
    assert main([*again, str(out / "weights.safetensors")]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--out is missing"),
        (["--stage", "teacher"], "--stage, --teacher and --classes are for other methods"),
        (["--out", "x", "--set", "loss.suprevision=rays"], "did you mean"),
        (["--pack", "x"], "manifest.json"),
        (["--pack", "x", "--split", "val"], "--split val: is of folders of meshes"),
        (["--out", "x", "--split", "val"], "--split val: is of meshes that --pack renders"),
        (["--pack", "x", "--half"], "--half has no effect with --pack"),
        (["--pack", "x", "--workers", "2"], "--workers is for dfa3d; leave it out"),
        (["--out", "x", "--workers", "2"], "--workers is for dfa3d; add --set run.workers=2 in its place"),
        (["--out", "x", "--resume", "--init-from", "w"], "leave it out beside --resume"),
        (["--out", "x", "--non-commercial"], "--non-commercial is for lfm"),
        (["--out", "x", "--init-from", "lift3d-lrm-tinny"], "did you mean 'lift3d-lrm-tiny'"),
    ],
)
def test_what_is_missing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["train", "lrm", "--data", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err

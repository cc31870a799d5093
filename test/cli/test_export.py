"""`lift3d export` writes a graph and says whose weights are in it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tabletop import picture as ball

from lift3d_ros.cli.main import main as lift3d


def test_a_graph_of_an_untrained_model_is_written_and_called_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("torch", "onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    out = tmp_path / "new" / "bev.onnx"
    assert lift3d(["export", "dfa3d", "--model", "dfa3d_tiny", "--cameras", "1", "--out", str(out)]) == 0
    assert out.stat().st_size > 100_000
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"wrote {out} (")
    assert line.endswith("1 camera slots, any number of pairs): dfa3d_tiny (untrained weights)")


def test_a_graph_of_a_lifter_lifts_keypoints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("torch", "onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    out = tmp_path / "lifter.onnx"
    assert lift3d(["export", "lfm", "--config", "lift3d-lfm-small", "--out", str(out)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("any number of instances and joints): lift3d-lfm-small (untrained weights)")
    keypoints = tmp_path / "keypoints.json"
    flat = [value for joint in range(17) for value in (100.0 + 37 * joint % 90, 50.0 + 11 * joint, 1.0)]
    keypoints.write_text(json.dumps([{"image_id": 1, "keypoints": flat}]))
    arguments = [str(keypoints), "--model", str(out), "--no-pictures", "--out", str(tmp_path / "lifted")]
    assert lift3d(["lift", *arguments]) == 0
    assert "1 skeletons of 1 pictures (lift3d-lfm-small (untrained weights))" in capsys.readouterr().out


def test_a_graph_of_a_point_encoder_describes_clouds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("torch", "onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    from point_clouds import ellipsoid, write_encoder

    weights, out = write_encoder(tmp_path / "best.safetensors"), tmp_path / "points.onnx"
    assert lift3d(["export", "i2p_mae", "--weights", str(weights), "--out", str(out)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"wrote {out} (")
    assert line.endswith("any number of objects): best")
    np.save(tmp_path / "cloud.npy", ellipsoid(300))
    arguments = [str(tmp_path / "cloud.npy"), "--model", str(out), "--out", str(tmp_path / "features")]
    assert lift3d(["features", *arguments]) == 0
    assert "1 objects of 1 clouds (best)" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["lfm", "i2p_mae"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "x.onx"], "--out 'x.onx': expected a file name that ends in .onnx"),
        (["--weights", "missing.safetensors", "--out", "x.onnx"], "missing.safetensors': no such file"),
        (["--weights", "best.ckpt", "--out", "x.onnx"], "expected a file name that ends in .safetensors"),
        (["--model", "lift3d-lmf-no-such", "--out", "x.onnx"], "model 'lift3d-lmf-no-such' is not in"),
    ],
)
def test_wrong_use_is_named(method: str, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert lift3d(["export", method, *arguments]) == 2
    assert words in capsys.readouterr().err


def test_the_reconstructor_is_exported_as_two_graphs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("torch", "onnx", "onnxscript", "onnxruntime", "trimesh", "skimage"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    out, picture = tmp_path / "new" / "lrm.onnx", tmp_path / "ball.png"
    assert lift3d(["export", "lrm", "--config", "lift3d-lrm-tiny", "--out", str(out)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"wrote {out} (")
    assert f" MB) and {tmp_path}/new/lrm.field.onnx (" in line
    assert line.endswith(" MB): lift3d-lrm-tiny (untrained weights)")
    cv2.imwrite(str(picture), ball()[:, :, ::-1])
    options = ["--box", "105,65,215,175", "--model", str(out), "--resolution", "16", "--threshold", "1e-9"]
    assert lift3d(["reconstruct", str(picture), *options, "--out", str(tmp_path / "mesh.glb")]) == 1
    assert "no surface: all of the cube is solid" in capsys.readouterr().out


def test_graphs_of_the_reconstructor_end_in_onnx(capsys: pytest.CaptureFixture[str]) -> None:
    assert lift3d(["export", "lrm", "--out", "x.onx"]) == 2
    assert "expected a file name that ends in .onnx" in capsys.readouterr().err

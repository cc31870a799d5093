"""`lift3d reconstruct` from a picture to files, with every way to say what the object is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from given_object import RADIUS, given_engine

from lift3d_ros.cli.main import main
from lift3d_ros.pipelines import object_foreground, object_matting, object_reconstruction

pytest.importorskip("skimage", reason="scikit-image is not installed")
pytest.importorskip("scipy", reason="scipy is not installed")
trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")

SMALL = ["--resolution", "32"]
RIG = "cameras: {front: {calibration: {width: 160, height: 120, fx: 200, fy: 200, cx: 79.5, cy: 59.5}}}\n"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_reconstruction, "open_lrm_engine", lambda model, config: given_engine())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rgb = np.random.default_rng(0).integers(80, 120, (120, 160, 3), dtype=np.uint8)
    mask = np.zeros((120, 160), np.uint8)
    mask[20:100, 40:120] = 255
    rgb[mask > 0] = (30, 60, 220)
    cv2.imwrite(str(tmp_path / "table.jpg"), rgb)
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    cv2.imwrite(str(tmp_path / "mug.png"), np.dstack([rgb, mask]))
    cv2.imwrite(str(tmp_path / "mug16.png"), np.dstack([rgb, mask]).astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "grey.png"), rgb[..., 0])
    return tmp_path


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["mug.png"], id="alpha"),
        pytest.param(["mug16.png"], id="alpha of 16 bit"),
        pytest.param(["table.jpg", "--mask", "mask.png"], id="mask"),
        pytest.param(["grey.png", "--mask", "mask.png"], id="grey"),
        pytest.param(["table.jpg", "--box", "30,10,130,110"], id="box"),
        pytest.param(["table.jpg", "--box", "40,20,120,100", "--whole-box"], id="whole box"),
    ],
)
def test_a_mesh_is_written(files: Path, arguments: list[str], capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    assert main(["reconstruct", *arguments, "--out", "out/mug.ply", *SMALL]) == 0
    found = trimesh.load(files / "out" / "mug.ply", process=False)
    np.testing.assert_allclose(np.linalg.norm(found.vertices, axis=1), RADIUS, atol=0.02)
    told = capsys.readouterr().out
    assert "model: lift3d-lrm-tiny" in told
    assert "of the vertices seen, the rest guessed" in told


@pytest.mark.usefixtures("engine")
def test_a_matting_network_needs_neither_mask_nor_box(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_matting, "check_rembg", lambda: None)
    monkeypatch.setattr(object_foreground, "matting", lambda rgb: np.where(rgb[..., 0] > 160, 255, 0).astype(np.uint8))
    arguments = [str(files / "table.jpg"), "--out", str(files / "mug.ply"), *SMALL]
    assert main(["reconstruct", *arguments]) == 2
    assert main(["reconstruct", *arguments, "--rembg"]) == 0
    assert (files / "mug.ply").is_file()


@pytest.mark.usefixtures("engine")
def test_pictures_a_film_and_a_texture_on_request(files: Path) -> None:
    pytest.importorskip("PIL", reason="Pillow is not installed")
    options = ["--pictures", str(files / "shown"), "--turntable", str(files / "mug.gif"), "--texture", "--faces", "300"]
    assert main(["reconstruct", str(files / "mug.png"), "--out", str(files / "mug.glb"), *SMALL, *options]) == 0
    assert {path.name for path in (files / "shown").iterdir()} == {
        *(f"view_{angle}.png" for angle in (0, 90, 180, 270)),
        *("input.png", "mesh.png", "mesh_180.png", "guessed_parts_blue.png", "sheet.png"),
    }
    assert (files / "mug.gif").stat().st_size > 0
    found = trimesh.load(files / "mug.glb", force="mesh", process=False)
    assert len(found.faces) <= 300
    assert found.visual.uv is not None


@pytest.mark.usefixtures("engine")
def test_a_depth_picture_gives_metres(files: Path, capsys: Any) -> None:
    cv2.imwrite(str(files / "depth.png"), np.full((120, 160), 1500, np.uint16))
    rig = files / "rig.yaml"
    rig.write_text(RIG)
    arguments = [str(files / "mug.png"), "--out", str(files / "mug.ply"), *SMALL]
    assert main(["reconstruct", *arguments, "--camera", f"{rig}:front", "--depth", str(files / "depth.png")]) == 0
    told = capsys.readouterr().out
    assert "(by depth" in told
    found = trimesh.load(files / "mug.ply", process=False)
    # As large as 80 px at 1.5 m with a focal length of 200 px, roughly.
    assert 0.3 < np.ptp(found.vertices, axis=0)[0] < 1.2


def test_without_a_surface_nothing_is_written_and_the_status_is_1(
    files: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def empty(model: str, config: Any) -> Any:
        return given_engine(lambda points: np.zeros(len(points)), is_trained=False)

    monkeypatch.setattr(object_reconstruction, "open_lrm_engine", empty)
    options = [*SMALL, "--pictures", str(files / "shown")]
    assert main(["reconstruct", str(files / "mug.png"), "--out", str(files / "mug.glb"), *options]) == 1
    told = capsys.readouterr().out
    assert "untrained weights" in told
    assert "no surface: the field is empty" in told
    assert "nothing was written" in told
    assert not (files / "mug.glb").exists()
    assert (files / "shown" / "sheet.png").exists()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table.jpg"], "nothing says which pixels are the object"),
        (["absent.jpg"], "cannot be read"),
        (["mask.txt"], "is no picture that can be decoded"),
        (["cut.jpg", "--mask", "mask.png"], "is cut short"),
        (["table.jpg", "--mask", "small.png"], "the mask has 12x10 px, the picture 160x120; expected a mask of one"),
        (["table.jpg", "--mask", "empty.png"], "the mask is empty"),
        (["table.jpg", "--box", "1,2,3"], "expected four numbers"),
        (["table.jpg", "--box", "50,50,51,51"], "covers 1x1 px"),
        (["table.jpg", "--box", "500,500,600,600"], "lies outside of the picture"),
        (["table.jpg", "--whole-box"], "there is no --box"),
        (["mug.png", "--depth", "mask.png"], "the size of the object needs both"),
        (["mug.png", "--out", "mug.stl"], "cannot be written as '.stl'"),
        (["mug.png", "--turntable", "mug.avi"], "expected a film that ends in"),
        (["mug.png", "--resolution", "30"], "multiple of 4"),
        (["mug.png", "--threshold", "-1"], "surface.threshold"),
        (["table.jpg", "--rembg", "--mask", "mask.png"], "--rembg and --mask: both say what the object is"),
        (["table.jpg", "--rembg", "--box", "1,2,90,90", "--whole-box"], "--rembg and --whole-box: both say"),
        (["mug.png", "--out", "mask.txt/mug.glb"], "--out mask.txt/mug.glb: mask.txt is a file and not a folder"),
        (["mug.png", "--out", "folder.glb"], "--out folder.glb: is a folder; give the name of a file"),
        (["mug.png", "--out", "/proc/mug.glb"], "--out /proc/mug.glb: /proc cannot be written to"),
        (["mug.png", "--turntable", "/proc/mug.mp4"], "--turntable /proc/mug.mp4: /proc cannot be written to"),
        (["mug.png", "--pictures", "mask.txt"], "--pictures mask.txt: is a file; give a folder"),
        (
            ["mug.png", "--camera", "rig.yaml", "--depth", "wide.png"],
            "--depth wide.png: has 100x40 px, the picture 160x",
        ),
    ],
)
def test_wrong_use_is_told_without_a_traceback(
    files: Path, arguments: list[str], message: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(model: str, config: Any) -> Any:
        raise AssertionError("the model was opened")

    monkeypatch.chdir(files)
    if "--out" in arguments or "--turntable" in arguments or "--pictures" in arguments:
        monkeypatch.setattr(object_reconstruction, "open_lrm_engine", opened)
    (files / "mask.txt").write_text("no picture")
    (files / "folder.glb").mkdir()
    (files / "rig.yaml").write_text(RIG)
    cv2.imwrite("wide.png", np.full((40, 100), 1500, np.uint16))
    (files / "cut.jpg").write_bytes((files / "table.jpg").read_bytes()[:-500])
    cv2.imwrite("small.png", np.zeros((10, 12), np.uint8))
    cv2.imwrite("empty.png", np.zeros((120, 160), np.uint8))
    assert main(["reconstruct", "--out", "mug.glb", *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert not (files / "mug.glb").exists()


def test_a_published_model_without_weights_says_how_to_get_them(files: Path, capsys: Any) -> None:
    assert main(["reconstruct", str(files / "mug.png"), "--model", "triposr", "--out", str(files / "mug.glb")]) == 2
    assert "lift3d weights import FILE --as triposr" in capsys.readouterr().err


@pytest.mark.usefixtures("engine")
def test_settings_come_from_a_file_and_options_win(files: Path) -> None:
    settings = files / "settings.yaml"
    settings.write_text("surface: {resolution: 32, max_faces: 100}\n")
    arguments = [str(files / "mug.png"), "--out", str(files / "mug.ply"), "--params", str(settings)]
    assert main(["reconstruct", *arguments]) == 0
    assert len(trimesh.load(files / "mug.ply").faces) <= 100
    assert main(["reconstruct", *arguments, "--faces", "0"]) == 0
    assert len(trimesh.load(files / "mug.ply").faces) > 100


def test_a_graph_has_pictures_of_the_mesh_and_says_that_views_are_missing(
    files: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = dataclasses.replace(given_engine(), encoder=None)
    monkeypatch.setattr(object_reconstruction, "open_lrm_engine", lambda model, config: graph)
    shown = files / "shown"
    options = ["--out", str(files / "mug.ply"), "--pictures", str(shown), *SMALL]
    assert main(["reconstruct", str(files / "mug.png"), *options]) == 0
    assert {path.stem for path in shown.iterdir()} == {"input", "mesh", "mesh_180", "guessed_parts_blue", "sheet"}
    assert "without views of the field, which are rendered with PyTorch" in capsys.readouterr().out

"""An evaluation gives figures for a model and for guesses without a network, which are as good as they have to be."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("trimesh")
pytest.importorskip("skimage")

from given_object import given_engine
from object_folders import renderer_or_skip, write_mesh_folder

from lift3d_ros.cli.main import main
from lift3d_ros.datasets.object_meshes import MeshEntry, read_mesh_folder
from lift3d_ros.datasets.object_renders import ObjectRenderer
from lift3d_ros.errors import EngineError
from lift3d_ros.evaluation.object_baselines import cut_out, mean_shape
from lift3d_ros.evaluation.object_cases import make_case, spread_out
from lift3d_ros.evaluation.object_pictures import picture_errors
from lift3d_ros.evaluation.object_reconstruction import evaluate_objects
from lift3d_ros.evaluation.object_surfaces import surface_errors, surface_points
from lift3d_ros.models.lrm.config import LrmConfig, preset
from lift3d_ros.pipelines.object_reconstruction import ObjectReconstructionConfig, ObjectReconstructor

SIDE = 64


@pytest.fixture(scope="module")
def renderers() -> Iterator[tuple[ObjectRenderer, ObjectRenderer]]:
    with renderer_or_skip(SIDE) as first, renderer_or_skip(SIDE) as second:
        yield first, second


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, MeshEntry]:
    folder = write_mesh_folder(tmp_path_factory.mktemp("meshes"))
    return {entry.name: entry for entry in read_mesh_folder(folder, "all")}


def config() -> LrmConfig:
    found = preset("lift3d-lrm-tiny")
    assert found is not None
    return found


def test_the_mean_of_one_ball_is_the_ball(
    entries: dict[str, MeshEntry], renderers: tuple[ObjectRenderer, ObjectRenderer]
) -> None:
    case = make_case(entries["ball"], config(), renderers, 2, seed=0)
    grid = mean_shape([entries["ball"]], config(), renderers, seed=0)
    points = surface_points(*grid.surface(), np.random.default_rng(0), 4000)
    assert surface_errors(points, case.surface, case.longest_side).chamfer < 0.02
    for pose, truth in zip(case.T_model_cameras, case.pictures, strict=True):
        assert picture_errors(grid.render(pose, config().view.focal, SIDE), truth).psnr > 16.0


def test_a_cut_out_looks_like_the_picture_from_where_it_was_taken(
    entries: dict[str, MeshEntry], renderers: tuple[ObjectRenderer, ObjectRenderer]
) -> None:
    case = make_case(entries["brick"], config(), renderers, 1, seed=0)
    grid = cut_out(case, config())
    rendered = grid.render(case.T_model_cameras[0], config().view.focal, SIDE)
    assert picture_errors(rendered, case.pictures[0]).psnr > 16.0


def test_cases_do_not_depend_on_which_others_are_evaluated(
    entries: dict[str, MeshEntry], renderers: tuple[ObjectRenderer, ObjectRenderer]
) -> None:
    first = make_case(entries["brick"], config(), renderers, 2, seed=3)
    make_case(entries["cup"], config(), renderers, 2, seed=3)
    again = make_case(entries["brick"], config(), renderers, 2, seed=3)
    np.testing.assert_array_equal(first.pictures[2], again.pictures[2])
    np.testing.assert_array_equal(first.surface, again.surface)
    assert not np.array_equal(first.rgba, make_case(entries["brick"], config(), renderers, 2, seed=4).rgba)


def test_entries_are_spread_over_the_list(entries: dict[str, MeshEntry]) -> None:
    some = list(entries.values())
    assert spread_out(some, 5) == some
    assert spread_out(some, 2) == [some[0], some[2]]


def test_the_command_writes_figures_sheet_and_report(
    entries: dict[str, MeshEntry],
    renderers: tuple[ObjectRenderer, ObjectRenderer],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = next(iter(entries.values())).path.parent
    out = tmp_path / "results"
    options = ["--views", "1", "--side", "32", "--resolution", "16", "--data", str(data), "--out", str(out)]
    assert main(["evaluate", "object_reconstruction", *options]) == 0
    document = json.loads((out / "metrics.json").read_text())
    figures = document["figures"]
    assert set(figures["methods"]) == {"model", "mean_shape", "cut_out"}
    assert list(figures["per_object"]) == ["brick"]
    assert figures["mean_shape_of"] == "2 meshes of the split train"
    assert figures["lpips"] is None
    assert figures["lpips_missing"]
    assert 0.0 < figures["psnr"] < 60.0
    assert document["configuration"]["objects"] == ["brick"]
    assert cv2.imread(str(out / "objects.png")) is not None
    assert "brick" in (out / "report.html").read_text()
    printed = capsys.readouterr().out
    assert "mean_shape" in printed
    assert "no LPIPS: " in printed
    assert main(["evaluate", "object_reconstruction", *options]) == 2
    assert "already holds results" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--views", "0"], "--views 0: expected 1 to 64"),
        (["--resolution", "0"], "surface.resolution is 0; expected 4 to 1024"),
        (["--resolution", "4000000"], "expected 4 to 1024"),
        (["--out", "/proc/results"], "--out /proc/results: /proc cannot be written to"),
        (["--split", "test"], "split 'test'; expected one of train, val, all"),
        (["--weights", "gone.safetensors"], "no such file"),
    ],
)
def test_wrong_options_are_refused(
    entries: dict[str, MeshEntry], tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    data = next(iter(entries.values())).path.parent
    assert main(["evaluate", "object_reconstruction", "--data", str(data), "--out", str(tmp_path / "x"), *options]) == 2
    assert message in capsys.readouterr().err


def test_an_exported_graph_is_refused_at_once(entries: dict[str, MeshEntry]) -> None:
    graph = dataclasses.replace(given_engine(), encoder=None)
    reconstructor = ObjectReconstructor(graph, ObjectReconstructionConfig())
    with pytest.raises(EngineError, match="is an exported graph, which renders no views to compare"):
        evaluate_objects(reconstructor, list(entries.values()), [])

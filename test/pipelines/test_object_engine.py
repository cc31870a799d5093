"""Models of the object reconstructor are found by name, are loaded strictly, and say where they lack weights."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from safetensors.torch import save_file  # noqa: E402

from lift3d_ros.errors import EngineError, WeightsError  # noqa: E402
from lift3d_ros.models.lrm.config import preset  # noqa: E402
from lift3d_ros.models.lrm.network import build_lrm  # noqa: E402
from lift3d_ros.pipelines.bev_engine import EngineConfig  # noqa: E402
from lift3d_ros.pipelines.object_engine import (  # noqa: E402
    field_signature,
    find_lrm,
    open_lrm_engine,
    open_lrm_source,
    planes_signature,
    untrained_lrm,
)
from lift3d_ros.pipelines.object_graph import example_picture, example_points  # noqa: E402


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of models with a trained tiny one, a damaged one and one of another method."""
    config = preset("lift3d-lrm-tiny")
    assert config is not None
    state = {name: value.half() for name, value in build_lrm(config, seed=3).state_dict().items()}
    lines = ["models:", "  lifter: {method: lfm, preset: lift3d-lfm-small, licence: x, source: a test}"]
    for name in ("mine", "short"):
        path = tmp_path / f"{name}.safetensors"
        save_file(state, path)
        facts = f"weights: {path.name}, sha256: {hashlib.sha256(path.read_bytes()).hexdigest()}"
        lines.append(f"  {name}: {{method: lrm, preset: lift3d-lrm-tiny, {facts}, licence: x, source: a test}}")
        state.popitem()
    (tmp_path / "manifest.yaml").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path))
    return tmp_path


def test_a_model_of_a_manifest_runs_with_its_weights_also_in_half_precision(models: Path) -> None:
    engine = open_lrm_engine("mine", EngineConfig())
    assert engine.identity.is_trained
    assert engine.identity.backend == "torch"
    config = preset("lift3d-lrm-tiny")
    assert config is not None
    wanted = build_lrm(config, seed=3).field.state_dict()
    for name, value in engine.triplane_field.state_dict().items():
        torch.testing.assert_close(value, wanted[name].half().float())


def test_our_own_configuration_runs_with_random_weights_and_says_so() -> None:
    engine = open_lrm_source(untrained_lrm("lift3d-lrm-tiny"), EngineConfig())
    assert engine.identity.description == "lift3d-lrm-tiny (untrained weights)"
    shares: list[float] = []
    engine.watch(shares.append)
    inputs = {"images": np.zeros((1, 3, 128, 128), np.float32), "cameras": np.zeros((1, 16), np.float32)}
    planes = engine.planes.run(inputs, engine.planes.new_state())["planes"]
    assert planes.shape == planes_signature(engine.config).outputs[0].shape
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert 0.9 < shares[-1] <= 1.0
    points = np.zeros((1, 5, 3), np.float32)
    found = engine.field.run({"planes": planes, "points": points}, engine.field.new_state())
    assert found["density"].shape == (1, 5)
    assert found["color"].shape == (1, 5, 3)
    assert field_signature(engine.config).input_names == ("planes", "points")


def test_the_network_can_be_stopped_before_each_of_its_layers() -> None:
    engine = open_lrm_engine("lift3d-lrm-tiny", EngineConfig())
    asked = 0

    def stop(share: float) -> None:
        nonlocal asked
        asked += 1
        if asked == 20:
            raise InterruptedError

    engine.watch(stop)
    inputs = {"images": np.zeros((1, 3, 128, 128), np.float32), "cameras": np.zeros((1, 16), np.float32)}
    with pytest.raises(InterruptedError):
        engine.planes.run(inputs, engine.planes.new_state())
    assert asked == 20


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("triposr", "'lift3d weights import FILE --as triposr'"),
        ("lift3d-lrm-tyny", "is not in"),
        ("lifter", "does not reconstruct objects"),
        ("short", "does not fit model 'short'"),
    ],
)
def test_what_cannot_be_loaded_says_why(models: Path, name: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        open_lrm_engine(name, EngineConfig())


def test_a_damaged_file_is_refused(models: Path) -> None:
    path = models / "mine.safetensors"
    path.write_bytes(path.read_bytes()[:-10] + b"0123456789")
    with pytest.raises(WeightsError, match="SHA-256 is"):
        find_lrm("mine")


def test_a_model_runs_from_its_exported_graphs_on_another_backend(graph_cache: Path) -> None:
    expected = open_lrm_engine("lift3d-lrm-tiny", EngineConfig())
    found = open_lrm_engine("lift3d-lrm-tiny", EngineConfig(backend="onnxruntime", threads=1))
    assert found.identity == dataclasses.replace(expected.identity, backend="onnxruntime")
    picture = example_picture(found.config)
    planes = [engine.planes.run(picture, engine.planes.new_state())["planes"] for engine in (expected, found)]
    np.testing.assert_allclose(planes[1], planes[0], atol=1e-3 * np.abs(planes[0]).max())
    asked = {**example_points(planes[0].shape, 50), "planes": planes[0]}
    fields = [engine.field.run(asked, engine.field.new_state()) for engine in (expected, found)]
    for name in ("density", "color"):
        np.testing.assert_allclose(fields[1][name], fields[0][name], rtol=1e-3, atol=1e-3)


def test_a_backend_that_is_not_there_or_would_ignore_a_setting_is_refused() -> None:
    with pytest.raises(EngineError, match=r"engine\.precision 'float16'"):
        open_lrm_engine("lift3d-lrm-tiny", EngineConfig(backend="onnxruntime", precision="float16"))
    with pytest.raises(EngineError, match="is not known"):
        open_lrm_engine("lift3d-lrm-tiny", EngineConfig(backend="onnx"))  # type: ignore[arg-type]

"""Models of the object reconstructor are found by name, are loaded strictly, and say where they lack weights."""

from __future__ import annotations

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


def test_a_backend_that_does_not_run_it_is_refused() -> None:
    with pytest.raises(EngineError, match=r"engine\.backend 'onnxruntime' runs object reconstruction from an exported"):
        open_lrm_engine("lift3d-lrm-tiny", EngineConfig(backend="onnxruntime"))

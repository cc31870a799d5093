"""`lift3d export` writes a graph and says whose weights are in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lift3d_ros.cli.main import main as lift3d


def test_a_graph_of_an_untrained_model_is_written_and_called_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("torch", "onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    out = tmp_path / "new" / "bev.onnx"
    assert lift3d(["export", "dfa3d", "--cameras", "1", "--out", str(out)]) == 0
    assert out.stat().st_size > 100_000
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"wrote {out} (")
    assert line.endswith("1 camera slots): dfa3d_tiny (untrained weights)")

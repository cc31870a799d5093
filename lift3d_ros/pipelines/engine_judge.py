"""Compares a TensorRT engine with float32 on recorded scenes, when a pipeline opens it first."""

from __future__ import annotations

from pathlib import Path

from lift3d_ros.engines.numerics import Judge, Verdict
from lift3d_ros.engines.protocol import Engine


def graph_judge(path: Path) -> Judge:
    """Return what judges engines of the graph at `path`; scenes are read when it is asked."""

    def judge(engine: Engine) -> Verdict:
        # Not above: it knows all methods, and their engines are opened with this module.
        from lift3d_ros.pipelines.engine_subjects import subject_of_graph

        ask = subject_of_graph(path).judge()
        assert ask is not None
        return ask(engine)

    return judge

"""Measures the detector on the bundled street with each backend and thread count, in turns within one run.

Writes the medians and their ratios with a description of the machine; figures of another run on a noisy machine
differ, the ratios less so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from pathlib import Path

import onnxruntime
import torch

import lift3d_ros
from lift3d_ros.pipelines.bev_detection import BevDetectionConfig, DetectorConfig, open_bev_detector
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.replay.folder_frames import SceneFrames

ROOT = Path(__file__).resolve().parents[1]
VARIANTS = [(backend, threads) for backend in ("onnxruntime", "torch") for threads in (1, 2)]


def main() -> int:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "bev_backends_cpu.json")
    parser.add_argument("--rounds", type=int, default=3, help="how often each variant runs the scene (default 3)")
    args = parser.parse_args()
    source = SceneFrames(ROOT / "demo" / "street")
    times_ms: dict[str, list[float]] = {f"{backend}, {threads} threads": [] for backend, threads in VARIANTS}
    for _ in range(args.rounds):
        for backend, threads in VARIANTS:
            config = BevDetectionConfig(engine=EngineConfig(backend=backend, threads=threads))
            detector = open_bev_detector(config, len(source.cameras))
            for index, frame_set in enumerate(source.frame_sets()):
                result = detector.infer(detector.prepare(frame_set))
                if index >= 2:  # the first frames warm up
                    times_ms[f"{backend}, {threads} threads"].append(sum(result.timings_s.values()) * 1e3)
    medians = {name: round(statistics.median(values), 1) for name, values in times_ms.items()}
    fastest = min(medians.values())
    document = {
        "command": "tools/bench_backends.py",
        "model": BevDetectionConfig().model,
        "input": "demo/street, six cameras of 704x396",
        "median_ms": medians,
        "ratio_to_fastest": {name: round(value / fastest, 2) for name, value in medians.items()},
        "frames_each": len(next(iter(times_ms.values()))),
        "score_threshold": DetectorConfig().score_threshold,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {
            "lift3d_ros": lift3d_ros.__version__,
            "onnxruntime": onnxruntime.__version__,
            "torch": torch.__version__.split("+")[0],
            "python": platform.python_version(),
        },
    }
    text = json.dumps(document, indent=2)
    print(text)
    args.out.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

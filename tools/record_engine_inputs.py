"""Writes config/recorded_inputs: what `lift3d engine` feeds to networks to compare backends and precisions.

Three moments of the simulated drive in demo/street, skeletons in motion, clouds of things and two rendered objects, all
made by this package, the same ones each time.

  python tools/record_engine_inputs.py
"""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lift3d_ros.datasets.keypoint_creatures import creatures
from lift3d_ros.datasets.keypoint_rigs import sample_figure
from lift3d_ros.datasets.keypoint_vehicles import rigid_figures
from lift3d_ros.datasets.made_parts import make_parts
from lift3d_ros.datasets.object_renders import Framing, Light, ObjectRenderer, render_views, turned_rotation
from lift3d_ros.datasets.object_shapes import made_object
from lift3d_ros.errors import Lift3dError
from lift3d_ros.evaluation.skeleton_views import views_of
from lift3d_ros.geometry.skeleton import SkeletonFacts
from lift3d_ros.pipelines.recorded_inputs import FOLDER, write_street
from lift3d_ros.pipelines.skeleton_batches import KeypointFrame, LifterConfig, prepare_keypoints
from lift3d_ros.replay.folder_frames import SceneFrames
from lift3d_ros.types import Keypoints2D

ROOT = Path(__file__).resolve().parents[1]
NUM_FRAMES = 3
VIEWS_PER_FIGURE, NUM_CLOUDS, POINTS_PER_CLOUD = 2, 16, 2048
OBJECT_SEEDS, OBJECT_PX = (3, 11), 256


def main() -> int:
    """Write all files and return the exit status."""
    folder = ROOT / FOLDER
    folder.mkdir(exist_ok=True)
    try:
        frames = SceneFrames(ROOT / "demo" / "street").frame_sets()
        write_street(folder / "street.npz", list(islice(frames, NUM_FRAMES)))
        np.savez_compressed(folder / "skeletons.npz", **skeletons())
        clouds = make_parts(NUM_CLOUDS, POINTS_PER_CLOUD, seed=0).points
        np.savez_compressed(folder / "clouds.npz", points=clouds.astype(np.float16))
        np.savez(folder / "objects.npz", **objects())
    except (Lift3dError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for path in sorted(folder.glob("*.npz")):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e3:.0f} kB")
    return 0


def skeletons() -> dict[str, Any]:
    """Return the inputs of the lifter for views of animals, machines and a hand in motion: run/name -> array."""
    instances: list[Keypoints2D] = []
    facts: dict[str, SkeletonFacts] = {}
    for number, figure in enumerate((*creatures(), *rigid_figures())):
        made = sample_figure(figure, subjects=1, frames=VIEWS_PER_FIGURE, seed=number)
        views = views_of(made, np.arange(VIEWS_PER_FIGURE), seed=number)
        facts[views.skeleton.name] = SkeletonFacts(views.skeleton)
        for points, is_seen in zip(views.points, views.is_seen, strict=True):
            instances.append(
                Keypoints2D(points, np.where(is_seen, 0.9, 0.0), None, views.skeleton.name, "", len(instances))
            )
    prepared = prepare_keypoints(KeypointFrame(0, tuple(instances), facts), LifterConfig())
    return {
        f"{number}/{name}": array
        for number, batch in enumerate(prepared.batches)
        for name, array in batch.inputs.items()
    }


def objects() -> dict[str, Any]:
    """Return pictures of objects with alpha, as PNG streams."""
    pictures = {}
    with ObjectRenderer(OBJECT_PX) as renderer:
        for number, seed in enumerate(OBJECT_SEEDS):
            rotation = turned_rotation(0.6 + number, 0.35)[None]
            light = Light((0.4, 0.3, 0.86), 0.6, 1.0)
            views = render_views(renderer, made_object(np.random.default_rng(seed)), rotation, Framing(2.0, 0.8), light)
            rgba = views.rgba[0]
            _, encoded = cv2.imencode(".png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))
            pictures[str(number)] = np.asarray(encoded, dtype=np.uint8).reshape(-1)
    return pictures


if __name__ == "__main__":
    sys.exit(main())

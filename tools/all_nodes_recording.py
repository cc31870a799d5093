"""Makes the recording for tools/run_all_nodes.py: a simulated street with cameras, LiDAR and keypoints of people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from demo_skeleton import walking_person

from lift3d_ros.bags.write_scene import write_scene
from lift3d_ros.datasets.frames import Scene, read_scene
from lift3d_ros.errors import Lift3dError
from lift3d_ros.geometry.camera import project
from lift3d_ros.geometry.rigid import invert, make_transform, transform_points
from lift3d_ros.geometry.rotations import yaw_matrix
from lift3d_ros.geometry.skeleton import load_skeleton
from lift3d_ros.pipelines.keypoint_sets import StampedKeypoints
from lift3d_ros.resources import find_resource
from lift3d_ros.simulation.run import RunOptions, simulate
from lift3d_ros.simulation.settings import load_settings
from lift3d_ros.types import Keypoints2D

PERSON_HEIGHT_M, STRIDE_M, WALKING_FRAMES = 1.75, 1.35, 12
LEAST_JOINTS, LEAST_VISIBLE = 6, 0.2


def simulated_bag(out: Path, frames: int, camera: str) -> Path:
    """Return a simulated recording with keypoints of one camera, made where it is missing.

    Raises:
        Lift3dError: the street has no such camera.
    """
    bag = out / f"street_{frames}_{camera}"
    if bag.exists():
        return bag
    settings = load_settings(find_resource("config/simulation/demo.yaml"))
    options = RunOptions(replace(settings, frames=frames, lidar=True), out / f"simulated_{frames}")
    print(f"simulating {frames} frames", flush=True)
    for _ in simulate(options):
        pass
    scene = read_scene(options.target(settings.seed))
    if camera not in scene.cameras:
        raise Lift3dError(f"--camera {camera}: not in the simulated street; expected one of {', '.join(scene.cameras)}")
    write_scene(scene, bag, keypoints={camera: pedestrian_keypoints(scene, camera)})
    return bag


def pedestrian_keypoints(scene: Scene, camera: str) -> list[StampedKeypoints]:
    """Return the joints of a walking person in the place of each pedestrian, as a camera sees them.

    The step follows the speed of the label, and not the rendered legs.
    """
    facts, model = load_skeleton("coco17"), scene.cameras[camera].model
    steps = walking_person(WALKING_FRAMES).joints.astype(np.float64)
    steps[:, :, 2] -= steps[:, :, 2].min(axis=1, keepdims=True)
    found = []
    for frame in scene.frames:
        image, boxes = frame.images[camera], frame.boxes
        assert boxes is not None
        assert image.T_world_base is not None
        T_cam_base = invert(image.T_world_base @ scene.cameras[camera].T_base_cam) @ frame.T_world_base
        instances = []
        for i in np.flatnonzero(boxes.labels == boxes.class_names.index("pedestrian")):
            if frame.visibility is not None and frame.visibility[i] < LEAST_VISIBLE:
                continue
            walked_m = np.nan_to_num(np.linalg.norm(boxes.velocities[i])) * (frame.stamp_ns - scene.frames[0].stamp_ns)
            pose = steps[int(walked_m * 1e-9 / STRIDE_M * WALKING_FRAMES) % WALKING_FRAMES]
            height = boxes.sizes[i, 2]
            T_base_person = make_transform(yaw_matrix(float(boxes.yaws[i])), boxes.centers[i] - [0, 0, height / 2])
            joints = transform_points(T_cam_base @ T_base_person, pose * (height / PERSON_HEIGHT_M))
            pixels, is_seen = project(model, joints)
            is_seen &= ((pixels >= 0) & (pixels < [model.width, model.height])).all(axis=1)
            if is_seen.sum() >= LEAST_JOINTS:
                track = -1 if boxes.track_ids is None else int(boxes.track_ids[i])
                instances.append(Keypoints2D(pixels, is_seen * 0.9, is_seen, "coco17", "person", len(instances), track))
        found.append(
            StampedKeypoints(
                image.stamp_ns, model.frame_id, tuple(instances), {"coco17": facts}, model.width, model.height
            )
        )
    return found

"""Checks before replay what a recording lacks: calibration, mounting, ego motion, pictures."""

from __future__ import annotations

from lift3d_ros.bags.discover import BagStreams, CameraTopics
from lift3d_ros.bags.messages import camera_model_from_msg, image_from_msg
from lift3d_ros.bags.reader import BagMessage, BagReader
from lift3d_ros.errors import CalibrationError, ImageError, TransformError
from lift3d_ros.geometry.rig import Rig, RigCamera
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.images.decode import image_size
from lift3d_ros.types import CameraModel

# A camera with fewer pictures than this share of the busiest one's is worth a word.
_FEW = 0.8


def check_streams(reader: BagReader, streams: BagStreams, rig: Rig | None = None) -> dict[str | None, list[str]]:
    """Return what is wrong with the streams of a recording, by camera; None stands for the recording as a whole.

    Looks at the first picture and the first calibration of each camera, and at the transforms.

    Raises:
        BagError: the file is damaged on the way.
    """
    topics = {camera.image_topic for camera in streams.cameras.values()}
    topics |= {camera.info_topic for camera in streams.cameras.values() if camera.info_topic is not None}
    first = reader.first_messages(topics)
    counts = {topic.name: topic.count for topic in reader.topics}
    busiest = max(counts[camera.image_topic] for camera in streams.cameras.values())
    problems: dict[str | None, list[str]] = {}
    for name, camera in streams.cameras.items():
        of_rig = None if rig is None else rig.cameras[name]
        found = _check_calibration(name, camera, of_rig, first)
        found += _check_mounting(camera, of_rig, streams.base_frame, streams.transforms.tree)
        if counts[camera.image_topic] < _FEW * busiest:
            found.append(f"{counts[camera.image_topic]} pictures where another camera has {busiest}")
        if found:
            problems[name] = found
    whole = [*reader.problems, *streams.transforms.problems, *filter(None, [streams.ego.problem])]
    if whole:
        problems[None] = whole
    return problems


def _check_calibration(
    name: str, camera: CameraTopics, of_rig: RigCamera | None, first: dict[str, BagMessage]
) -> list[str]:
    model: CameraModel | None = None if of_rig is None else of_rig.model(name)
    if model is None and camera.info_topic is None:
        return [f"no calibration: no CameraInfo beside {camera.image_topic}; give its intrinsics in a rig file (--rig)"]
    try:
        if model is None:
            assert camera.info_topic is not None
            message = first[camera.info_topic].message
            model = camera_model_from_msg(message, name, camera.info_topic, is_rectified=camera.is_rectified)
        image = image_from_msg(first[camera.image_topic].message, name, camera.image_topic)
        size = image_size(image)
    except (CalibrationError, ImageError) as error:
        return [str(error)]
    if size != (model.width, model.height):
        return [
            f"pictures of {size[0]}x{size[1]}, but a calibration for {model.width}x{model.height}; "
            "record the CameraInfo of these pictures, or give it in a rig file (--rig)"
        ]
    return []


def _check_mounting(camera: CameraTopics, of_rig: RigCamera | None, base_frame: str, tree: TransformTree) -> list[str]:
    if of_rig is not None and of_rig.mounting is not None:
        return []
    try:
        tree.lookup_static(base_frame, camera.frame_id)
    except TransformError:
        return [
            f"no transform from '{base_frame}' to its frame '{camera.frame_id}'; record /tf_static, give the mounting "
            "in a rig file (--rig), or --mount-height METRES in replay if it looks straight ahead"
        ]
    return []

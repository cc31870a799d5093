"""Checks before replay what a recording lacks: calibration, mounting, ego motion, pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lift3d_ros.bags.discover import BagStreams, CameraTopics, absent_calibration
from lift3d_ros.bags.messages import camera_model_from_msg, image_from_msg
from lift3d_ros.bags.reader import BagMessage, BagReader
from lift3d_ros.errors import CalibrationError, ImageError, TransformError
from lift3d_ros.geometry.rig import Rig, RigCamera
from lift3d_ros.images.decode import image_size
from lift3d_ros.images.preprocess import scaled_to
from lift3d_ros.types import CameraModel, CameraView

# A camera with fewer pictures than this share of the busiest one's is worth a word.
_FEW = 0.8


@dataclass(frozen=True, eq=False)
class CameraCheck:
    """What was seen of one camera: with `problems` it cannot be used, with `notes` it can.

    `view` is its first picture with calibration and mounting; None where there are problems.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    view: CameraView | None


@dataclass(frozen=True, eq=False)
class RecordingCheck:
    """What was seen of each camera by name, and of the recording as a whole."""

    cameras: Mapping[str, CameraCheck]
    notes: tuple[str, ...]


def check_streams(reader: BagReader, streams: BagStreams, rig: Rig | None = None) -> RecordingCheck:
    """Look at the first picture and the first calibration of each camera, and at the transforms.

    Raises:
        BagError: the file is damaged on the way.
    """
    topics = {camera.image_topic for camera in streams.cameras.values()}
    topics |= {camera.info_topic for camera in streams.cameras.values() if camera.info_topic is not None}
    first = reader.first_messages(topics)
    counts = {topic.name: topic.count for topic in reader.topics}
    busiest = max(counts[camera.image_topic] for camera in streams.cameras.values())
    cameras = {}
    for name, camera in streams.cameras.items():
        check = _check_camera(reader, streams, name, rig.cameras[name] if rig is not None else RigCamera(), first)
        if (count := counts[camera.image_topic]) < _FEW * busiest:
            check = replace(check, notes=(*check.notes, f"{count} pictures where another camera has {busiest}"))
        cameras[name] = check
    whole = (*reader.problems, *streams.transforms.problems, *filter(None, [streams.ego.problem]))
    return RecordingCheck(cameras, whole)


def _check_camera(
    reader: BagReader, streams: BagStreams, name: str, of_rig: RigCamera, first: Mapping[str, BagMessage]
) -> CameraCheck:
    camera = streams.cameras[name]
    problems, notes = list[str](), list[str]()
    model = image = T_base_cam = None
    try:
        model = of_rig.model(name) or _recorded_model(reader, name, camera, first)
        image = image_from_msg(first[camera.image_topic].message, name, camera.image_topic)
        width, height = image_size(image)
        if scaled_to(model, width, height, image.label) is not model:
            notes.append(
                f"its calibration for {model.width}x{model.height} is scaled to pictures of {width}x{height}; right "
                "where whole pictures were shrunk, wrong where they were cropped"
            )
    except (CalibrationError, ImageError) as error:
        problems.append(str(error))
    try:
        T_base_cam = of_rig.T_base_cam
        if T_base_cam is None:
            T_base_cam = streams.transforms.tree.lookup_static(streams.base_frame, camera.frame_id)
    except TransformError:
        problems.append(
            f"no transform from '{streams.base_frame}' to its frame '{camera.frame_id}'; record /tf_static, give the "
            "mounting in a rig file (--rig), or --mount-height METRES in replay if it looks straight ahead"
        )
    view = None
    if not problems and image is not None and model is not None and T_base_cam is not None:
        view = CameraView(image, model, T_base_cam)
    return CameraCheck(tuple(problems), tuple(notes), view)


def _recorded_model(reader: BagReader, name: str, camera: CameraTopics, first: Mapping[str, BagMessage]) -> CameraModel:
    if camera.info_topic is None:
        raise CalibrationError(absent_calibration(reader, camera))
    message = first[camera.info_topic].message
    return camera_model_from_msg(message, name, camera.info_topic, is_rectified=camera.is_rectified)

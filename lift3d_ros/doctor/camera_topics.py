"""Judges one camera of a running system: pictures, stamps, calibration, transform."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lift3d_ros.bags.discover import CAMERA_INFO
from lift3d_ros.doctor.observations import CameraObservation, Publisher, SystemObservation
from lift3d_ros.doctor.pictures import write_calibration_picture
from lift3d_ros.doctor.report import Check, Section, bytes_text, fail, ok, warn
from lift3d_ros.errors import CalibrationError, ImageError, TransformError, nearest_name_hint
from lift3d_ros.images.decode import decode, image_size
from lift3d_ros.images.preprocess import scaled_to
from lift3d_ros.types import CameraModel, CameraView, Float64Array

# Clocks of one machine agree far better than this, well kept clocks of two machines too.
FUTURE_S = 0.05
_OLD_S = 1.0
# So old are only the stamps of a recording that is played.
RECORDED_S = 3600.0
_SILENCE_S = 1.0
_SLOW_HZ = 1.0
_LOST_SHARE = 0.5


def check_camera(camera: CameraObservation, system: SystemObservation, folder: Path | None) -> Section:
    """Return the lines of one camera; the calibration picture goes to `folder` where one is given."""
    checks = [_check_publishers(camera, system)]
    if camera.is_compressed_by_choice:
        text = f"only the compressed topic is published; the node listens to '{camera.image_topic[:-11]}' by default"
        checks.append(warn("pictures", text, "set topics.is_compressed of the node to true"))
    if camera.images.count:
        checks += [_check_rate(camera, system), _check_picture(camera), *_check_stamps(camera, system)]
    calibration = _check_calibration(camera, system.topics)
    transform, T_base_cam = _check_transform(camera, system)
    checks += [*calibration, transform]
    if folder is not None and camera.first_image and camera.model is not None and T_base_cam is not None:
        checks.append(_draw(camera, camera.model, T_base_cam, folder))
    return Section(f"camera '{camera.name}'", tuple(checks))


def _check_publishers(camera: CameraObservation, system: SystemObservation) -> Check:
    name, topic = "pictures", f"topic '{camera.image_topic}'"
    if not camera.publishers:
        return fail(name, f"{topic}: nobody publishes it", _who_else(camera.image_topic, camera.type, system.topics))
    if wrong := [publisher for publisher in camera.publishers if publisher.type != camera.type]:
        text = f"{topic}: {wrong[0].node} publishes {wrong[0].type}, the node expects {camera.type}"
        return fail(name, text, "correct the topic; pictures come as sensor_msgs/Image or sensor_msgs/CompressedImage")
    if refused := _refused(camera.publishers):
        text = f"{topic}: {_qos(refused)}, the node requests {system.reliability}: nothing arrives ({refused.refusal})"
        return fail(name, text, "set qos.reliability of the node to best_effort, or change the publisher")
    offered = _qos(camera.publishers[0])
    if not camera.images.count:
        text = f"{topic}: {offered}, but nothing arrived within {system.seconds:g} s"
        remedy = (
            "look with 'ros2 topic hz' on the machine of the publisher; if pictures are there, they get lost on the "
            "way: set the shared-memory profile on the publisher too, or send compressed pictures between machines"
        )
        return fail(name, text, remedy)
    if camera.image_error:
        return fail(name, camera.image_error, "publish one of the encodings of sensor_msgs/image_encodings for colour")
    if len(camera.publishers) > 1:
        nodes = ", ".join(publisher.node for publisher in camera.publishers)
        return warn(name, f"{topic}: published by several nodes: {nodes}", "stop all but one of them")
    return ok(name, f"{topic}: {offered}")


def _check_rate(camera: CameraObservation, system: SystemObservation) -> Check:
    images, topic = camera.images, f"topic '{camera.image_topic}'"
    received, sent = images.rate_hz, images.stamp_rate_hz
    silence_s = images.longest_silence_s(system.end_s)
    rate = f"{received:.1f} Hz, longest pause {silence_s:.2f} s"
    text = f"{topic}: {rate}"
    # A recording may be played at any speed.
    is_live = not system.is_simulated_time and (images.age_s or 0.0) < RECORDED_S
    if is_live and images.count > 3 and received < _LOST_SHARE * sent:
        remedy = "pictures get lost: set the shared-memory profile on the publisher too ('lift3d doctor' names it)"
        return warn("rate", f"{text}; its stamps tell {sent:.1f} Hz", remedy)
    if received < _SLOW_HZ:
        return warn("rate", text, "check the driver; the detector needs about 2 Hz, 10 Hz are usual")
    if silence_s > max(_SILENCE_S, 3.0 / received):
        return warn("rate", text, "check driver, cable and load of the machine")
    return ok("rate", rate)


def _check_picture(camera: CameraObservation) -> Check:
    if camera.first_image is None:
        return fail("picture", camera.image_error, "publish Image, or CompressedImage with JPEG or PNG")
    image = camera.first_image
    try:
        decode(image)
        width, height = image_size(image)
    except ImageError as error:
        return fail("picture", str(error), "correct the driver, or convert the picture before it is published")
    return ok("picture", f"{width}x{height} {image.encoding}, up to {bytes_text(camera.largest_bytes)}")


def _check_stamps(camera: CameraObservation, system: SystemObservation) -> list[Check]:
    name, topic, images = "stamps", f"topic '{camera.image_topic}'", camera.images
    checks = []
    if images.zero_stamps:
        text = f"{topic}: {images.zero_stamps} of {images.count} stamps are zero"
        checks.append(fail(name, text, "set header.stamp to the capture time in the driver"))
    if images.jumps_back:
        text = f"{topic}: stamps jump back {times(images.jumps_back)} in {system.seconds:g} s"
        remedy = "expected once where a recording starts again; otherwise stop the second publisher or fix the driver"
        checks.append(warn(name, text, remedy))
    if images.repeats:
        text = f"{topic}: {images.repeats} pictures repeat the stamp of the one before"
        checks.append(warn(name, text, "the camera is frozen, or the driver stamps wrongly: check it"))
    age_s, youngest_s = images.age_s, images.youngest_s
    if age_s is None or youngest_s is None:
        return checks
    clock = "the time on /clock" if system.is_simulated_time else "the clock of this machine"
    if youngest_s < -FUTURE_S:
        text = f"{topic}: stamps lie up to {-youngest_s:.2f} s in the future of {clock}"
        remedy = "synchronise the clocks (chrony or PTP), or let the driver stamp with the time of capture"
        checks.append(fail(name, text, remedy))
    elif _OLD_S < age_s < RECORDED_S:
        text = f"{topic}: pictures are {age_s:.2f} s old on arrival, by {clock}"
        checks.append(warn(name, text, "synchronise the clocks; if they agree, shorten the queue of the driver"))
    elif not checks:
        checks.append(ok(name, f"{age_text(age_s)} old on arrival, in order"))
    return checks


def _check_calibration(camera: CameraObservation, topics: Mapping[str, str]) -> list[Check]:
    name, topic = "calibration", f"topic '{camera.info_topic}'"
    if camera.is_model_of_rig and camera.model is not None:
        return [ok(name, "from the rig file"), *_check_size(camera, camera.model)]
    if not camera.info_publishers:
        remedy = _who_else(camera.info_topic, CAMERA_INFO, topics) + ", or give the calibration in a rig file"
        return [fail(name, f"{topic}: nobody publishes it", remedy)]
    if not camera.infos:
        if refused := _refused(camera.info_publishers):
            text = f"{topic}: {_qos(refused)}, which does not fit what the node requests ({refused.refusal})"
            return [fail(name, text, "set qos.reliability of the node to best_effort, or change the publisher")]
        remedy = "publish it with every picture, or latched (transient local); or give it in a rig file"
        return [fail(name, f"{topic}: {_qos(camera.info_publishers[0])}, but nothing arrived", remedy)]
    if camera.model is None:
        remedy = "calibrate the camera and load the result in the driver, or give the calibration in a rig file"
        return [fail(name, camera.model_error, remedy)]
    latched = ", latched" if camera.info_publishers[0].durability == "transient_local" else ""
    focal = f"fx {camera.model.intrinsics[0, 0]:.1f} px, {camera.model.distortion_model}{latched}"
    checks = [ok(name, f"{topic}: {focal}"), *_check_size(camera, camera.model)]
    frame = camera.optical_frame()
    if camera.info_frame_id and camera.info_frame_id != frame and camera.frame_id is None:
        text = f"{topic}: frame_id is '{camera.info_frame_id}', that of the pictures '{frame}', which is used"
        checks.append(warn(name, text, "use one optical frame for both, or set frame_id in a rig file"))
    return checks


def _check_size(camera: CameraObservation, model: CameraModel) -> list[Check]:
    if camera.first_image is None:
        return []
    source = "the rig file" if camera.is_model_of_rig else f"topic '{camera.info_topic}'"
    try:
        width, height = image_size(camera.first_image)
        scaled_to(model, width, height, f"topic '{camera.image_topic}'")
    except ImageError:
        return []
    except CalibrationError as error:
        remedy = "publish the CameraInfo of this resolution, or correct the rig file"
        return [fail("calibration", f"{str(error).partition('; expected')[0]} ({source})", remedy)]
    if (width, height) == (model.width, model.height):
        return []
    text = f"{source} is for {model.width}x{model.height}, the pictures have {width}x{height}; it is scaled"
    return [warn("calibration", text, "publish the CameraInfo of this resolution")]


def _check_transform(camera: CameraObservation, system: SystemObservation) -> tuple[Check, Float64Array | None]:
    if camera.T_base_cam is not None:
        return ok("transform", "mounting from the rig file"), camera.T_base_cam
    frame = camera.optical_frame()
    try:
        T_base_cam = system.tree.lookup_static(system.base_frame, frame)
    except TransformError as error:
        text = f"'{system.base_frame}' -> '{frame}' of topic '{camera.image_topic}' is not known: {error}"
        remedy = "start robot_state_publisher or a static_transform_publisher, or give the mounting in a rig file"
        return fail("transform", text.partition("; publish")[0], remedy), None
    x, y, z = T_base_cam[:3, 3]
    return ok("transform", f"'{system.base_frame}' -> '{frame}': at x {x:.2f}, y {y:.2f}, z {z:.2f} m"), T_base_cam


def _draw(camera: CameraObservation, model: CameraModel, T_base_cam: Float64Array, folder: Path) -> Check:
    assert camera.first_image is not None
    try:
        path = write_calibration_picture(folder, CameraView(camera.first_image, model, T_base_cam))
    except (ImageError, CalibrationError) as error:
        return warn("calibration picture", f"cannot be drawn: {error}", "correct what the lines above name")
    return ok("calibration picture", str(path))


def age_text(age_s: float) -> str:
    """Return an age for people."""
    for unit, length_s in (("years", 365.25 * 86400.0), ("days", 86400.0), ("h", RECORDED_S)):
        if abs(age_s) >= length_s:
            return f"{age_s / length_s:.1f} {unit}"
    return f"{age_s * 1e3:.0f} ms"


def times(count: int) -> str:
    """Return how often something happened."""
    return "once" if count == 1 else f"{count} times"


def _who_else(topic: str, kind: str, topics: Mapping[str, str]) -> str:
    """Return what to do about a topic without publisher, with the nearest one of its type."""
    others = sorted(name for name, found in topics.items() if found == kind and name != topic)
    compressed = f"{topic}/compressed"
    if compressed in topics:
        return f"'{compressed}' is published: set topics.is_compressed of the node to true"
    listed = f" (published: {', '.join(others[:12])})" if others else ""
    hint = nearest_name_hint(topic, others)
    return f"start the driver, or correct the topic{hint}{listed}; check that ROS_DOMAIN_ID is the same"


def _refused(publishers: list[Publisher]) -> Publisher | None:
    """Return a publisher that does not fit, if none fits."""
    return publishers[0] if publishers and all(publisher.refusal for publisher in publishers) else None


def _qos(publisher: Publisher) -> str:
    return f"{publisher.node} offers {publisher.reliability}, {publisher.durability}"

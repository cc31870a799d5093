"""Judges a running system: each camera, ego motion, transforms, and shared memory against the size of its pictures."""

from __future__ import annotations

from pathlib import Path

from lift3d_ros.doctor.camera_topics import FUTURE_S, RECORDED_S, age_text, check_camera, times
from lift3d_ros.doctor.observations import CameraObservation, SystemObservation
from lift3d_ros.doctor.pictures import LOOK_AT_THEM
from lift3d_ros.doctor.report import Check, Report, Section, bytes_text, count_text, fail, ok, warn
from lift3d_ros.geometry.transform_tree import ALWAYS_NS

_SLOW_EGO_HZ = 5.0
_EGO_GAP_S = 0.5


def judge_system(system: SystemObservation, folder: Path | None, segment_bytes: int) -> Report:
    """Return what is right and wrong with a system; calibration pictures go to `folder` where one is given.

    Args:
        segment_bytes: shared memory that a process with our environment sends through.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    if not system.cameras:
        pictures = fail(
            "cameras",
            f"no colour pictures are published ({len(system.topics)} topics seen)",
            "start the drivers; check ROS_DOMAIN_ID and the discovery range; or name the cameras with --cameras, "
            "--rig or --params",
        )
        return Report("running system", (Section("system", (pictures,)),))
    cameras = [check_camera(camera, system, folder) for camera in system.cameras]
    checks = [_check_clock(system), *_check_ego(system), *_check_memory(system, segment_bytes)]
    for_transforms = "correct the publisher; the transform is left out"
    checks += [warn("transforms", problem, for_transforms) for problem in dict.fromkeys(system.transform_problems)]
    if any(check.name == "calibration picture" and check.level == "OK" for s in cameras for check in s.checks):
        checks.append(ok("calibration pictures", LOOK_AT_THEM))
    rows = [_row(camera, section) for camera, section in zip(system.cameras, cameras, strict=True)]
    head = ("camera", "topic", "Hz", "picture", "age", "calibration", "transform", "result")
    subject = f"running system, {count_text(len(system.cameras), 'camera')}, {system.seconds:g} s"
    return Report(subject, (Section("system", tuple(checks)), *cameras), (head, *rows))


def _row(camera: CameraObservation, section: Section) -> tuple[str, ...]:
    def level(name: str) -> str:
        levels = [check.level for check in section.checks if check.name == name]
        return max(levels, key=("OK", "WARN", "FAIL").index, default="-")

    worst = max((check.level for check in section.checks), key=("OK", "WARN", "FAIL").index)
    picture = next((check.text.partition(" ")[0] for check in section.checks if check.name == "picture"), "-")
    age_s = camera.images.age_s
    rate, age = f"{camera.images.rate_hz:.1f}", "-" if age_s is None else age_text(age_s)
    return (
        camera.name,
        camera.image_topic,
        rate,
        picture if "x" in picture else "-",
        age,
        level("calibration"),
        level("transform"),
        worst,
    )


def _check_clock(system: SystemObservation) -> Check:
    ages = [age_s for camera in system.cameras if (age_s := camera.images.age_s) is not None]
    clock = "/clock" if system.is_simulated_time else "the clock of this machine"
    if ages and min(ages) > RECORDED_S:
        text = f"all pictures are {age_text(min(ages))} old by {clock}: a recording is played"
        return warn("clock", text, "fine for a test; play it with --clock and use_sim_time to have ages that mean much")
    return ok("clock", f"stamps are compared with {clock}")


def _check_ego(system: SystemObservation) -> list[Check]:
    if not system.ego_source:
        return [ok("ego motion", "switched off (ego_motion is 'none')")]
    name, ego = "ego motion", system.ego
    what = f"'{system.world_frame}' -> '{system.base_frame}' on {system.ego_source}"
    newest_ns = system.tree.newest_common_stamp_ns(system.world_frame, system.base_frame)
    if newest_ns is None:
        frames = ", ".join(system.tree.frames) or "none"
        text = f"{what}: not known (frames: {frames}); frames are detected one by one, without memory"
        return [warn(name, text, "start the odometry, set world_frame or ego_motion of the node")]
    if newest_ns == ALWAYS_NS:
        text = f"{what}: static, the vehicle never moves"
        return [ok(name, text)]
    silence_s = ego.longest_silence_s(system.end_s)
    text = f"{what}: {ego.rate_hz:.1f} Hz, longest pause {silence_s:.2f} s"
    checks = []
    if ego.rate_hz < _SLOW_EGO_HZ:
        checks.append(warn(name, text, "publish odometry at 10 Hz or more; poses in between are interpolated"))
    elif silence_s > _EGO_GAP_S:
        checks.append(warn(name, text, "check the odometry: sets wait for it and go on without memory"))
    else:
        checks.append(ok(name, text))
    if ego.jumps_back:
        remedy = "expected once where a recording starts again; otherwise stop the second publisher"
        checks.append(warn(name, f"{what}: stamps jump back {times(ego.jumps_back)}", remedy))
    return checks + _check_lag(system, what)


def _check_lag(system: SystemObservation, what: str) -> list[Check]:
    """Compare the age of ego poses with that of the pictures: sets wait for the pose."""
    pictures = [camera.images for camera in system.cameras]
    # Stamps of the future are wrong by themselves.
    ages = [images.age_s for images in pictures if images.age_s is not None and (images.youngest_s or 0.0) >= -FUTURE_S]
    ego_age_s, youngest_s = system.ego.age_s, system.ego.youngest_s
    if ego_age_s is None or youngest_s is None:
        return []
    if youngest_s < -FUTURE_S:
        text = f"{what}: stamps lie up to {-youngest_s:.2f} s in the future"
        return [warn("ego motion", text, "synchronise the clocks; tools that post-date transforms may be the cause")]
    if ages and ego_age_s - min(ages) > system.deadline_s:
        text = f"{what}: comes {ego_age_s - min(ages):.2f} s later than the pictures of the same time"
        remedy = f"synchronise the clocks, or raise sync.deadline_s ({system.deadline_s:g} s) of the node"
        return [warn("ego motion", text, remedy)]
    return []


def _check_memory(system: SystemObservation, segment_bytes: int) -> list[Check]:
    name = "shared memory"
    if "fastrtps" not in system.rmw and "fastdds" not in system.rmw:
        return [ok(name, f"not looked at with {system.rmw}")]
    sizes = [camera.largest_bytes for camera in system.cameras]
    largest, burst = max(sizes), sum(sizes)
    if not largest:
        return []
    picture = f"pictures of up to {bytes_text(largest)}"
    remedy = "set the shared-memory profile for the processes of the drivers too ('lift3d doctor' names the file)"
    live = [segment.size for segment in system.segments if not segment.is_stale]
    checks = []
    if live and max(live) < largest:
        text = f"{picture}, but every process here sends through at most {bytes_text(max(live))}: they get lost"
        checks.append(warn(name, text, remedy))
    elif live and min(live) < largest:
        text = f"{picture}; some processes here send through only {bytes_text(min(live))}"
        checks.append(warn(name, text, f"{remedy}, if the drivers are among them"))
    if segment_bytes < largest:
        text = f"{picture}, larger than the {bytes_text(segment_bytes)} that a process started here sends through"
        checks.append(warn(name, text, remedy))
    elif segment_bytes < burst:
        text = f"all cameras together send {bytes_text(burst)} at once, the segment has {bytes_text(segment_bytes)}"
        checks.append(warn(name, text, "enlarge segment_size in the profile, or send compressed pictures"))
    return checks or [ok(name, f"{picture}, {bytes_text(burst)} of all cameras at once, fit into the segments")]

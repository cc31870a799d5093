"""The shipped lifter on photographs of people: limbs are neither mirrored nor folded flat, as far as one can tell.

There is no true depth. What is known: all look towards the camera, and knees do not bend backwards.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from lift3d_ros.datasets.keypoint_json import read_keypoint_file
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.skeleton_batches import KeypointFrame
from lift3d_ros.pipelines.skeleton_lifting import SkeletonLiftingConfig, open_skeleton_lifter
from lift3d_ros.types import Float64Array

STANDING = ("standing_arms_out.jpg", "standing_hands_on_head.jpg", "standing_arms_up.jpg")


class Person:
    """Lifted joints by name, in parts of the extent of the seen ones in the picture: x right, y down, z away."""

    def __init__(self, names: tuple[str, ...], joints: Float64Array, is_seen: np.ndarray) -> None:
        extent = np.ptp(joints[is_seen][:, :2], axis=0).max()
        self.joints = dict(zip(names, joints / extent, strict=True))
        self.seen = {name for name, is_there in zip(names, is_seen, strict=True) if is_there}

    def depth(self, *names: str) -> float:
        return float(np.mean([self.joints[name][2] for name in names]))

    def length(self, first: str, second: str) -> float:
        return float(np.linalg.norm(self.joints[first] - self.joints[second]))


@pytest.fixture(scope="module")
def people(shared_dir: Path) -> dict[str, list[Person]]:
    content = read_keypoint_file(shared_dir / "data" / "people" / "keypoints_coco17.json")
    lifter = open_skeleton_lifter(SkeletonLiftingConfig(engine=EngineConfig(backend="torch", threads=1)))
    found: dict[str, list[Person]] = {}
    for number, picture in enumerate(one for one in content.pictures if one.instances):
        result = lifter.infer(lifter.prepare(KeypointFrame(number, picture.instances, content.skeletons)))
        found[picture.name] = [Person(s.skeleton.joint_names, s.joints, s.is_observed) for s in result.skeletons]
    return found


def test_all_people_look_towards_the_camera(people: dict[str, list[Person]]) -> None:
    everybody = [person for persons in people.values() for person in persons]
    assert len(everybody) == 9
    for person in everybody:
        assert person.depth("nose") < person.depth("left_ear", "right_ear") - 0.02


def test_knees_that_are_seen_do_not_bend_backwards(people: dict[str, list[Person]]) -> None:
    judged = 0
    for person in (person for persons in people.values() for person in persons):
        for side in ("left", "right"):
            hip, knee, ankle = (f"{side}_{joint}" for joint in ("hip", "knee", "ankle"))
            if {hip, knee, ankle} <= person.seen:
                assert person.depth(knee) < person.depth(hip, ankle) + 0.02
                judged += 1
    assert judged == 12


@pytest.mark.parametrize("name", STANDING)
def test_limbs_of_standing_people_have_about_their_usual_proportions(
    name: str, people: dict[str, list[Person]]
) -> None:
    (person,) = people[name]
    for first, second in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")):
        left, right = (person.length(f"{side}_{first}", f"{side}_{second}") for side in ("left", "right"))
        assert left == pytest.approx(right, rel=0.15)
    thigh, shin = person.length("left_hip", "left_knee"), person.length("left_knee", "left_ankle")
    assert thigh == pytest.approx(shin, rel=0.2)
    assert abs(person.depth("left_wrist") - person.depth("right_wrist")) < 0.2
    # Not more than 20 degrees from upright, although nothing tells the camera's pitch.
    shoulders = person.depth("left_shoulder", "right_shoulder")
    assert abs(person.depth("left_ankle", "right_ankle") - shoulders) < np.tan(np.deg2rad(20.0))


def test_a_person_who_kneels_or_skis_is_not_flat(people: dict[str, list[Person]]) -> None:
    for name in ("lunge_kneeling.jpg", "side_bend.jpg", "coco_skier.jpg"):
        (person,) = people[name]
        assert np.ptp([person.joints[joint][2] for joint in person.seen]) > 0.25


def test_legs_that_no_picture_shows_are_completed_and_marked(people: dict[str, list[Person]]) -> None:
    crew = people["apollo11_crew.jpg"]
    assert len(crew) == 3
    for person in crew:
        assert not {"left_knee", "right_knee", "left_ankle", "right_ankle"} & person.seen
        assert person.joints["left_ankle"][1] > person.joints["left_hip"][1] > person.joints["left_shoulder"][1]

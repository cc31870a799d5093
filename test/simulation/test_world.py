"""A world holds every class, nothing overlaps while the drive lasts, and things stand where they belong."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from lift3d_ros.datasets.frames import CLASS_NAMES
from lift3d_ros.geometry.boxes import bev_iou, corners
from lift3d_ros.simulation.layout import KINDS
from lift3d_ros.simulation.motion import EGO_LENGTH_M, EGO_REAR_OVERHANG_M, EGO_WIDTH_M, boxes_at
from lift3d_ros.simulation.settings import OBJECT_CLASSES, SimulationSettings
from lift3d_ros.simulation.supply import num_variants, parametric
from lift3d_ros.simulation.world import World, make_world

SEEDS = range(12)
DURATION_S = 3.5
TIMES_S = np.arange(-0.05, DURATION_S + 0.01, 0.355)
BIG = ("truck", "bus", "trailer", "construction_vehicle")


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    return [make_world(np.random.default_rng(seed), SimulationSettings(), None, DURATION_S) for seed in SEEDS]


def test_objects_never_overlap(worlds: list[World]) -> None:
    for seed, world in zip(SEEDS, worlds, strict=True):
        for time_s in TIMES_S:
            boxes = boxes_at(world.actors, float(time_s), CLASS_NAMES)
            overlap = bev_iou(boxes, boxes) - np.eye(len(boxes))
            # A trailer swings towards its puller in a tight turn.
            assert overlap.max(initial=0.0) < 0.01, f"seed {seed}: objects overlap at {time_s:.2f} s"


def test_nothing_comes_too_near_to_the_ego_vehicle(worlds: list[World]) -> None:
    half = np.array([EGO_LENGTH_M, EGO_WIDTH_M]) / 2
    for seed, world in zip(SEEDS, worlds, strict=True):
        for time_s in TIMES_S:
            T_base_world = np.linalg.inv(world.ego.T_world_base(float(time_s)))
            boxes = boxes_at(world.actors, float(time_s), CLASS_NAMES)
            points = corners(boxes)[:, :4] @ T_base_world[:3, :3].T + T_base_world[:3, 3]
            offset = points[..., :2] - [EGO_LENGTH_M / 2 - EGO_REAR_OVERHANG_M, 0.0]
            gap = np.linalg.norm(np.maximum(np.abs(offset) - half, 0.0), axis=-1).min(axis=1)
            for i in np.nonzero(gap < 1.3)[0]:
                assert CLASS_NAMES[boxes.labels[i]] not in BIG, f"seed {seed}: large vehicle {gap[i]:.1f} m away"
            assert gap.min(initial=9.0) > 0.6, f"seed {seed} at {time_s:.2f} s"


def test_every_class_and_kind_of_place_occurs(worlds: list[World]) -> None:
    counts = Counter(actor.user.class_name for world in worlds for actor in world.actors)
    assert set(counts) == set(OBJECT_CLASSES)
    assert counts["car"] == max(counts.values())
    assert len({world.place.kind for world in worlds}) >= len(KINDS) - 1


def test_vehicles_and_people_move_and_stand(worlds: list[World]) -> None:
    for class_name in ("car", "truck", "bicycle", "motorcycle", "pedestrian"):
        actors = [actor for world in worlds for actor in world.actors if actor.user.class_name == class_name]
        assert {actor.motion.is_moving for actor in actors} == {True, False}, class_name


def test_speeds_are_those_of_each_class(worlds: list[World]) -> None:
    fastest = {"pedestrian": 4.0, "bicycle": 8.0, "barrier": 0.01, "traffic_cone": 0.01}
    for world in worlds:
        boxes = boxes_at(world.actors, 1.0, CLASS_NAMES)
        speeds = np.linalg.norm(boxes.velocities, axis=1)
        for label, speed in zip(boxes.labels, speeds, strict=True):
            assert speed <= fastest.get(CLASS_NAMES[label], 22.0), CLASS_NAMES[label]


def test_vehicles_head_where_they_drive(worlds: list[World]) -> None:
    checked = 0
    for world in worlds:
        boxes = boxes_at(world.actors, 1.0, CLASS_NAMES)
        speeds = np.linalg.norm(boxes.velocities, axis=1)
        heading = np.stack([np.cos(boxes.yaws), np.sin(boxes.yaws)], axis=1)
        along = (heading * boxes.velocities).sum(axis=1)
        assert (along[speeds > 0.5] > 0.98 * speeds[speeds > 0.5]).all()
        checked += int((speeds > 0.5).sum())
    assert checked > 60


def test_velocity_of_the_labels_is_the_change_of_place(worlds: list[World]) -> None:
    for world in worlds[:4]:
        before, at, after = (boxes_at(world.actors, time_s, CLASS_NAMES) for time_s in (0.95, 1.0, 1.05))
        moved = (after.centers - before.centers)[:, :2] / 0.1
        np.testing.assert_allclose(moved, at.velocities, atol=0.35)


@pytest.mark.parametrize("class_name", OBJECT_CLASSES)
def test_boxes_enclose_their_meshes_and_stand_on_the_ground(class_name: str) -> None:
    for is_moving in (False, True):
        for variant in range(0, num_variants(class_name), 4):
            user = parametric(class_name, is_moving, variant)
            positions = np.concatenate([mesh.positions for mesh in user.meshes])
            np.testing.assert_allclose(positions.min(axis=0), user.center - user.size / 2, atol=1e-4)
            np.testing.assert_allclose(positions.max(axis=0), user.center + user.size / 2, atol=1e-4)
            assert abs(positions[:, 2].min()) < 0.08, f"{class_name} {variant} floats or sinks"


def test_the_same_seed_gives_the_same_world_whatever_was_made_before() -> None:
    first = make_world(np.random.default_rng(5), SimulationSettings(), None, 1.0)
    parametric.cache_clear()
    make_world(np.random.default_rng(6), SimulationSettings(), None, 1.0)
    second = make_world(np.random.default_rng(5), SimulationSettings(), None, 1.0)
    assert len(first.actors) == len(second.actors)
    for one, other in zip(first.actors, second.actors, strict=True):
        np.testing.assert_array_equal(one.user.meshes[0].positions, other.user.meshes[0].positions)
        np.testing.assert_array_equal(one.user.meshes[0].colors, other.user.meshes[0].colors)
    for one, other in zip(first.scenery, second.scenery, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)


def test_classes_without_weight_do_not_occur() -> None:
    settings = SimulationSettings(class_weights={"pedestrian": 1.0, "bicycle": 1.0})
    world = make_world(np.random.default_rng(3), settings, None, 1.0)
    assert {actor.user.class_name for actor in world.actors} == {"pedestrian", "bicycle"}

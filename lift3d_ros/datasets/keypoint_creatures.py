"""Figures that move: animals, a hand, a gripper and an excavator."""

from __future__ import annotations

from lift3d_ros.datasets.keypoint_rigs import Figure, Joint, both_sides


def creatures() -> tuple[Figure, ...]:
    """Return all of them."""
    return (_bird(), _insect(), _snake(), _theropod(), _hand(), _gripper(), _excavator())


def _bird() -> Figure:
    wing = (
        Joint("shoulder", "back", (0.03, 0.05, 0.01), (("x", -50, 60), ("z", -25, 25)), part="wing"),
        Joint("elbow", "shoulder", (-0.03, 0.12, 0.0), (("z", -20, 60), ("x", -15, 30)), part="wing"),
        Joint("wrist", "elbow", (0.05, 0.14, 0.0), (("z", -60, 15), ("x", -20, 20)), part="wing"),
        Joint("wing_tip", "wrist", (-0.08, 0.2, 0.0), part="wing"),
    )
    leg = (
        Joint("hip", "tail_base", (0.06, 0.03, -0.03), (("y", -30, 60),), part="leg"),
        Joint("knee", "hip", (0.04, 0.0, -0.06), (("y", -20, 70),), part="leg"),
        Joint("foot", "knee", (-0.03, 0.0, -0.07), part="leg"),
    )
    return Figure(
        "made_bird20",
        "generated",
        (
            Joint("back", "", (0.0, 0.0, 0.0), (("y", -40, 30), ("x", -30, 30)), part="body"),
            Joint("neck", "back", (0.1, 0.0, 0.03), (("y", -50, 40), ("z", -40, 40)), part="neck"),
            Joint("head", "neck", (0.07, 0.0, 0.05), (("y", -30, 40), ("z", -40, 40)), part="neck"),
            Joint("beak", "head", (0.06, 0.0, -0.01), part="head"),
            Joint("tail_base", "back", (-0.14, 0.0, -0.01), (("y", -25, 25), ("z", -20, 20)), part="body"),
            Joint("tail_tip", "tail_base", (-0.14, 0.0, 0.0), part="tail"),
            *both_sides(wing, ("back",)),
            *both_sides(leg, ("tail_base",)),
        ),
    )


def _insect() -> Figure:
    legs = []
    for name, place, forward in (("front", 0.01, 0.008), ("middle", 0.0, 0.0), ("hind", -0.01, -0.01)):
        legs += [
            Joint(f"{name}_coxa", "thorax", (place, 0.004, -0.003), (("z", -35, 35), ("x", -20, 40)), part="leg"),
            Joint(
                f"{name}_knee", f"{name}_coxa", (forward, 0.012, 0.008), (("x", -45, 10), ("z", -15, 15)), part="leg"
            ),
            Joint(f"{name}_foot", f"{name}_knee", (0.5 * forward, 0.010, -0.018), part="foot"),
        ]
    feeler = (Joint("feeler", "head", (0.015, 0.006, 0.006), part="feeler"),)
    return Figure(
        "made_insect25",
        "generated",
        (
            Joint("thorax", "", (0.0, 0.0, 0.0), (("y", -15, 15), ("x", -15, 15)), part="body"),
            Joint("neck", "thorax", (0.014, 0.0, 0.002), (("y", -25, 30), ("z", -30, 30)), part="body"),
            Joint("head", "neck", (0.006, 0.0, 0.0), (("z", -20, 20),), part="body"),
            Joint("waist", "thorax", (-0.014, 0.0, 0.0), (("y", -15, 25), ("z", -20, 20)), part="body"),
            Joint("abdomen_tip", "waist", (-0.026, 0.0, -0.002), part="abdomen"),
            *both_sides(feeler, ("head",)),
            *both_sides(legs, ("thorax",)),
        ),
    )


def _snake() -> Figure:
    joints = [Joint("head", "", (0.0, 0.0, 0.0), (("z", -20, 20), ("y", -15, 15)), part="body")]
    for number in range(1, 16):
        bend = (("z", -45.0, 45.0), ("y", -12.0, 12.0))
        joints.append(Joint(f"spine_{number}", joints[-1].name, (-0.08, 0.0, 0.0), bend, part="body"))
    return Figure("made_snake16", "generated", tuple(joints))


def _theropod() -> Figure:
    leg = (
        Joint("hip", "pelvis", (0.0, 0.18, -0.05), (("y", -60, 30), ("x", -10, 15)), part="leg"),
        Joint("knee", "hip", (0.25, 0.0, -0.55), (("y", -10, 70),), part="leg"),
        Joint("ankle", "knee", (-0.3, 0.0, -0.5), (("y", -60, 20),), part="leg"),
        Joint("toe", "ankle", (0.3, 0.0, -0.25), part="foot"),
    )
    arm = (
        Joint("shoulder", "chest", (0.1, 0.14, -0.15), (("y", -50, 30),), part="arm"),
        Joint("elbow", "shoulder", (-0.05, 0.03, -0.2), (("y", -70, 10),), part="arm"),
        Joint("claw", "elbow", (0.15, 0.0, -0.08), part="arm"),
    )
    return Figure(
        "made_theropod21",
        "generated",
        (
            Joint("pelvis", "", (0.0, 0.0, 1.3), (("y", -20, 25), ("x", -10, 10)), part="body"),
            Joint("chest", "pelvis", (0.7, 0.0, 0.05), (("y", -20, 20), ("z", -20, 20)), part="body"),
            Joint("neck", "chest", (0.3, 0.0, 0.25), (("y", -35, 35), ("z", -30, 30)), part="neck"),
            Joint("head", "neck", (0.2, 0.0, 0.25), (("y", -30, 30), ("z", -25, 25)), part="neck"),
            Joint("snout", "head", (0.4, 0.0, -0.08), part="head"),
            Joint("tail_1", "pelvis", (-0.5, 0.0, 0.0), (("y", -15, 15), ("z", -25, 25)), part="tail"),
            Joint("tail_2", "tail_1", (-0.6, 0.0, 0.0), (("y", -15, 15), ("z", -25, 25)), part="tail"),
            Joint("tail_tip", "tail_2", (-0.6, 0.0, 0.0), part="tail"),
            *both_sides(leg, ("pelvis",)),
            *both_sides(arm, ("chest",)),
        ),
        hidden=("tail_1",),
    )


def _hand() -> Figure:
    """Return a right hand, palm down at rest, with the joints of hand detectors."""
    joints = [Joint("wrist", "", (0.0, 0.0, 0.0), part="palm")]
    thumb = (
        ("cmc", (0.025, 0.025, -0.01), (("z", -10.0, 50.0), ("x", -40.0, 30.0), ("y", -10.0, 30.0))),
        ("mcp", (0.035, 0.02, -0.005), (("z", -50.0, 10.0), ("x", -10.0, 10.0))),
        ("ip", (0.03, 0.01, 0.0), (("z", -70.0, 10.0),)),
        ("tip", (0.027, 0.004, 0.0), ()),
    )
    above = "wrist"
    for name, offset, turns in thumb:
        joints.append(Joint(f"thumb_{name}", above, offset, turns, part="thumb"))
        above = f"thumb_{name}"
    fingers = (("index", 0.09, 0.025, 1.0), ("middle", 0.09, 0.003, 1.1), ("ring", 0.085, -0.018, 1.0),
               ("pinky", 0.077, -0.036, 0.78))  # fmt: skip
    for finger, along, across, size in fingers:
        lengths = (0.043 * size, 0.026 * size, 0.021 * size)
        spread = (("z", -14.0, 14.0), ("y", -15.0, 95.0))
        joints.append(Joint(f"{finger}_mcp", "wrist", (along, across, 0.0), spread, part="palm"))
        above = f"{finger}_mcp"
        for name, length, turns in (
            ("pip", lengths[0], (("y", 0.0, 100.0),)),
            ("dip", lengths[1], (("y", 0.0, 65.0),)),
            ("tip", lengths[2], ()),
        ):
            joints.append(Joint(f"{finger}_{name}", above, (length, 0.0, 0.0), turns, part=finger))
            above = f"{finger}_{name}"
    links = (("index_mcp", "middle_mcp"), ("middle_mcp", "ring_mcp"), ("ring_mcp", "pinky_mcp"))
    return Figure("made_hand21", "generated", tuple(joints), links, (), "so3", 0.08, 0.06)


def _gripper() -> Figure:
    """Return a gripper of four flexible fingers around a palm."""
    joints = [
        Joint("flange", "", (0.0, 0.0, 0.1), part="palm"),
        Joint("palm", "flange", (0.0, 0.0, -0.06), part="palm"),
    ]
    # Fingers of different length, so that the gripper is no mirror image of itself.
    for name, x, y, size in (
        ("a", 0.04, 0.0, 1.0),
        ("b", 0.0, 0.04, 0.8),
        ("c", -0.04, 0.0, 1.2),
        ("d", 0.0, -0.04, 1.0),
    ):
        axis, sign = ("y", 1.0) if y == 0 else ("x", -1.0)
        # Inward is the positive turn for a finger at +x and at -y, the negative one for the others.
        low, high = (-35.0, 55.0) if sign * (x + y) > 0 else (-55.0, 35.0)
        bend = ((axis, low, high),)
        joints += [
            Joint(f"{name}_base", "palm", (x, y, -0.01), bend, part="palm"),
            Joint(f"{name}_middle", f"{name}_base", (0.4 * x, 0.4 * y, -0.05 * size), bend, part="finger"),
            Joint(f"{name}_tip", f"{name}_middle", (-0.2 * x, -0.2 * y, -0.05 * size), part="finger"),
        ]
    return Figure("made_gripper14", "generated", tuple(joints), (), (), "so3")


def _excavator() -> Figure:
    track = (
        Joint("track_front", "base", (1.4, 1.0, -0.4), part="tracks"),
        Joint("track_rear", "base", (-1.4, 1.0, -0.4), part="tracks"),
    )
    cabin = (
        Joint("house_front", "turret", (0.9, 0.9, 0.3), part="house"),
        Joint("house_rear", "turret", (-1.6, 0.9, 0.5), part="house"),
        Joint("roof", "turret", (0.4, 0.8, 1.5), part="house"),
    )
    return Figure(
        "made_excavator17",
        "generated",
        (
            Joint("base", "", (0.0, 0.0, 1.0), part="tracks"),
            Joint("turret", "base", (0.0, 0.0, 0.1), (("z", -180, 180),), part="house"),
            Joint("boom_foot", "turret", (1.0, 0.0, 0.5), (("y", -50, 20),), part="boom"),
            Joint("boom_bend", "boom_foot", (1.8, 0.0, 1.2), part="boom"),
            Joint("boom_tip", "boom_bend", (2.0, 0.0, -0.2), (("y", 10, 110),), part="boom"),
            Joint("stick_tip", "boom_tip", (2.2, 0.0, 0.3), (("y", -20, 110),), part="stick"),
            Joint("bucket_tip", "stick_tip", (0.9, 0.0, -0.4), part="bucket"),
            *both_sides(track, ("base",)),
            *both_sides(cabin, ("turret",)),
        ),
        (("track_front_left", "track_rear_left"), ("track_front_right", "track_rear_right"),
         ("house_front_left", "house_rear_left"), ("house_front_right", "house_rear_right"),
         ("roof_left", "roof_right")),
    )  # fmt: skip

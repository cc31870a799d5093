"""Figures that are rigid or nearly so: a car, a bicycle, an aeroplane, a table and a forklift."""

from __future__ import annotations

import itertools

from lift3d_ros.datasets.keypoint_rigs import Figure, Joint, both_sides

_MIDDLE = ("centre",)
_CENTRE = Joint("centre", "", (0.0, 0.0, 0.0), part="body")


def rigid_figures() -> tuple[Figure, ...]:
    """Return all of them."""
    return (_car(), _bicycle(), _aeroplane(), _table(), _forklift())


def _car() -> Figure:
    half = (
        Joint("wheel_front", "centre", (1.35, 0.8, 0.32), part="axle"),
        Joint("wheel_rear", "centre", (-1.35, 0.8, 0.32), part="axle"),
        Joint("headlight", "centre", (2.05, 0.65, 0.65), part="front"),
        Joint("taillight", "centre", (-2.1, 0.65, 0.8), part="rear"),
        Joint("bonnet", "centre", (0.95, 0.7, 0.95), part="front"),
        Joint("roof_front", "centre", (0.25, 0.55, 1.42), part="roof"),
        Joint("roof_rear", "centre", (-1.1, 0.55, 1.4), part="roof"),
    )
    chain = ("taillight", "wheel_rear", "wheel_front", "headlight", "bonnet", "roof_front", "roof_rear", "taillight")
    links = [(f"{a}_{s}", f"{b}_{s}") for s in ("left", "right") for a, b in itertools.pairwise(chain)]
    links += [(f"{name}_left", f"{name}_right") for name in ("headlight", "taillight", "roof_front", "roof_rear")]
    return _rigid("made_car14", both_sides(half, _MIDDLE), links)


def _bicycle() -> Figure:
    bar = (Joint("grip", "stem", (0.05, 0.26, 0.05), part="bar"),)
    pedal = (Joint("pedal", "crank", (0.0, 0.12, 0.0), part="pedal"),)
    joints = (
        Joint("rear_hub", "centre", (-0.5, 0.0, 0.34), part="frame"),
        Joint("crank", "centre", (-0.08, 0.0, 0.29), (("y", -90, 90),), part="frame"),
        Joint("saddle", "centre", (-0.25, 0.0, 0.95), part="seat"),
        Joint("head_tube", "centre", (0.38, 0.0, 0.8), (("z", -35, 35),), part="frame"),
        Joint("front_hub", "head_tube", (0.17, 0.0, -0.46), part="frame"),
        Joint("stem", "head_tube", (-0.05, 0.0, 0.18), part="bar"),
        *both_sides(bar, ("stem",)),
        *both_sides(pedal, ("crank",)),
    )
    links = [("rear_hub", "crank"), ("crank", "saddle"), ("saddle", "head_tube"), ("crank", "head_tube"),
             ("rear_hub", "saddle")]  # fmt: skip
    return _rigid("made_bicycle10", joints, links)


def _aeroplane() -> Figure:
    half = (
        Joint("wing_root", "centre", (1.0, 1.6, -0.3), part="body"),
        Joint("wing_tip", "wing_root", (-4.5, 12.0, 1.2), part="wing"),
        Joint("engine", "wing_root", (1.5, 4.0, -0.9), part="wing"),
        Joint("stabiliser", "tail", (-1.0, 4.5, 0.3), part="tail"),
    )
    joints = (
        Joint("nose", "centre", (15.0, 0.0, -0.3), part="body"),
        Joint("tail", "centre", (-15.0, 0.0, 0.6), part="body"),
        Joint("fin", "tail", (-1.5, 0.0, 5.0), part="tail"),
        *both_sides(half, ("centre", "tail")),
    )
    links = [("nose", "wing_root_left"), ("nose", "wing_root_right"), ("wing_root_left", "tail"),
             ("wing_root_right", "tail")]  # fmt: skip
    return _rigid("made_aeroplane11", joints, links)


def _table() -> Figure:
    half = (
        Joint("corner_front", "centre", (0.7, 0.4, 0.74), part="top"),
        Joint("corner_rear", "centre", (-0.7, 0.4, 0.74), part="top"),
        Joint("foot_front", "centre", (0.62, 0.34, 0.0), part="legs"),
        Joint("foot_rear", "centre", (-0.62, 0.34, 0.0), part="legs"),
    )
    links = [("corner_front_left", "corner_front_right"), ("corner_rear_left", "corner_rear_right")]
    for side in ("left", "right"):
        links += [(f"corner_front_{side}", f"corner_rear_{side}"), (f"corner_front_{side}", f"foot_front_{side}"),
                  (f"corner_rear_{side}", f"foot_rear_{side}")]  # fmt: skip
    return _rigid("made_table8", both_sides(half, _MIDDLE), links)


def _forklift() -> Figure:
    half = (
        Joint("wheel_front", "centre", (0.7, 0.5, 0.3), part="body"),
        Joint("wheel_rear", "centre", (-0.7, 0.45, 0.25), part="body"),
        Joint("roof_front", "centre", (0.35, 0.45, 2.1), part="roof"),
        Joint("roof_rear", "centre", (-0.6, 0.45, 2.1), part="roof"),
        Joint("weight", "centre", (-1.2, 0.45, 0.8), part="body"),
        Joint("mast_foot", "centre", (0.95, 0.3, 0.2), (("y", -6, 12),), part="body"),
        Joint("mast_top", "mast_foot", (0.0, 0.0, 2.1), part="mast"),
        Joint("fork_heel", "mast_foot", (0.1, 0.0, 0.1), part="fork"),
        Joint("fork_tip", "fork_heel", (1.1, 0.0, 0.0), part="fork"),
    )
    links = []
    for side in ("left", "right"):
        chain = ("mast_foot", "wheel_front", "wheel_rear", "weight", "roof_rear", "roof_front", "wheel_front")
        links += [(f"{a}_{side}", f"{b}_{side}") for a, b in itertools.pairwise(chain)]
    links += [(f"{name}_left", f"{name}_right") for name in ("roof_front", "weight", "mast_top")]
    return _rigid("made_forklift18", both_sides(half, _MIDDLE), links)


def _rigid(name: str, joints: tuple[Joint, ...], links: list[tuple[str, str]]) -> Figure:
    """Return a figure around a hidden centre."""
    return Figure(name, "generated", (_CENTRE, *joints), tuple(links), _MIDDLE, "upright", 0.1, 0.2)

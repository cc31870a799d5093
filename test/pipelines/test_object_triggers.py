"""Which detected objects are reconstructed, and when again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lift3d_ros.models.lrm.object_image import PixelBox
from lift3d_ros.pipelines.object_triggers import DetectedObject, ObjectTriggers, TriggerConfig

SECOND = 1_000_000_000
MUG = DetectedObject(100.0, 50.0, 200.0, 150.0, "mug", 0.9, 7)


def choose(triggers: ObjectTriggers, *objects: DetectedObject, at_s: float = 0.0) -> list[str]:
    chosen = triggers.choose(objects, 10**18 + round(at_s * SECOND), 640, 480)
    return [one.key for one in chosen]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"label": "table"}, "another class", id="class"),
        pytest.param({"score": 0.2}, "low score", id="score"),
        pytest.param({"score": float("nan")}, "low score", id="no score"),
        pytest.param({"left": 630.0, "right": 700.0}, "cut off by the picture", id="border"),
        pytest.param({"left": 700.0, "right": 800.0}, "outside of the picture", id="outside"),
        pytest.param({"left": float("nan")}, "outside of the picture", id="nan"),
        pytest.param({"right": 90.0}, "outside of the picture", id="turned around"),
        pytest.param({"right": 120.0, "bottom": 70.0}, "too small", id="small"),
    ],
)
def test_what_is_left_out_is_counted_with_the_reason(changes: dict[str, object], reason: str) -> None:
    triggers = ObjectTriggers(TriggerConfig(labels=("mug",)))
    assert choose(triggers, replace(MUG, **changes), MUG) == ["mug 7"]
    assert triggers.skipped == {reason: 1}


def test_the_box_is_cut_to_the_picture() -> None:
    triggers = ObjectTriggers(TriggerConfig())
    (one,) = triggers.choose([replace(MUG, left=-10.4, bottom=490.0)], 0, 640, 480)
    assert one.box == PixelBox(50, 0, 480, 200)
    assert one.track == "7"


def test_an_object_is_due_again_after_the_interval_by_the_stamps_of_the_pictures() -> None:
    triggers = ObjectTriggers(TriggerConfig(min_interval_s=5.0))
    times = [at_s for at_s in (0.0, 2.0, 4.9, 5.0, 8.0, 10.1) if choose(triggers, MUG, at_s=at_s)]
    assert times == [0.0, 5.0, 10.1]
    assert choose(triggers, replace(MUG, track_id=8), at_s=10.2) == ["mug 8"]


def test_a_picture_of_lower_quality_does_not_count_as_done() -> None:
    triggers = ObjectTriggers(TriggerConfig())
    assert choose(triggers, replace(MUG, score=0.1)) == []
    assert choose(triggers, MUG, at_s=0.1) == ["mug 7"]


def test_objects_without_a_track_are_told_apart_by_class_and_place() -> None:
    triggers = ObjectTriggers(TriggerConfig())
    objects = [replace(MUG, track_id=-1), replace(MUG, track_id=-1, label="can"), replace(MUG, track_id=-1)]
    assert choose(triggers, *objects) == ["mug untracked0", "can untracked0", "mug untracked1"]


def test_a_recording_that_starts_again_starts_afresh() -> None:
    triggers = ObjectTriggers(TriggerConfig(min_interval_s=5.0))
    assert choose(triggers, MUG, at_s=100.0)
    assert choose(triggers, MUG, at_s=0.0), "a stamp of the past is no repetition"
    triggers.reset()
    assert choose(triggers, MUG, at_s=0.1)

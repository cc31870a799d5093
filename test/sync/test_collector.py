"""The collector keeps sets coming, in order, whatever single streams do."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lift3d_ros.errors import ConfigError
from lift3d_ros.sync.collector import StreamCollector, StreamSet
from lift3d_ros.sync.streams import SILENT_AFTER, StreamSpec

MS = 1_000_000
CAMERAS = ("front", "front_left", "front_right", "back", "back_left", "back_right")
FIRING_MS = {"front_left": 0, "front": 8, "front_right": 16, "back_right": 24, "back": 33, "back_left": 43}
PERIODS_MS = [83.3, 100.0, 500.0]


@dataclass(frozen=True)
class Item:
    stamp_ns: int
    name: str = ""


def collector(extra: tuple[StreamSpec, ...] = (), **changes: Any) -> StreamCollector:
    arguments = {"window_s": 0.1, "deadline_s": 0.2, "quorum": 1, **changes}
    return StreamCollector([*(StreamSpec(name) for name in CAMERAS), *extra], **arguments)


def rounds(count: int, period_ms: float, lost: Any = lambda round_, name: False) -> list[tuple[str, Item]]:
    """Return the items of surround cameras that fire one after the other, in order of their stamps."""
    items = [
        (name, Item(round((100 + i * period_ms + firing) * MS), name))
        for i in range(count)
        for name, firing in FIRING_MS.items()
        if not lost(i, name)
    ]
    return sorted(items, key=lambda pair: pair[1].stamp_ns)


def run(subject: StreamCollector, items: list[tuple[str, Item]], delay_ms: int = 30) -> list[StreamSet]:
    released: list[StreamSet] = []
    for name, item in items:
        released += subject.add(name, item, item.stamp_ns + delay_ms * MS)
    return released + subject.flush()


def spread_ms(item: StreamSet) -> float:
    stamps = [member.stamp_ns for member in item.items.values()]
    return (max(stamps) - min(stamps)) / MS


@pytest.mark.parametrize("period_ms", [33.3, 83.3, 100.0, 500.0, 1000.0])
def test_every_round_of_six_cameras_is_one_complete_set(period_ms: float) -> None:
    if period_ms < 50:
        subject = collector(window_s=0.03)
        items = [
            (name, Item(round((i * period_ms + firing / 3) * MS))) for i in range(20) for name, firing in
            FIRING_MS.items()
        ]  # fmt: skip
        items.sort(key=lambda pair: pair[1].stamp_ns)
    else:
        subject, items = collector(), rounds(20, period_ms)
    sets = run(subject, items)
    assert len(sets) == 20
    assert all(item.is_complete for item in sets)
    for item in sets:
        assert item.stamp_ns == max(member.stamp_ns for member in item.items.values())
        assert spread_ms(item) <= 43


def test_one_silent_camera_does_not_silence_the_others() -> None:
    subject = collector()
    sets = run(subject, rounds(200, 83.3, lost=lambda _, name: name == "back"))
    assert len(sets) == 200
    assert all(item.missing == ("back",) for item in sets)
    assert subject.silent_streams == ("back",)


def test_a_camera_that_dies_midway_is_waited_for_only_a_few_times() -> None:
    subject = collector()
    delays = []
    for name, item in rounds(20, 500.0, lost=lambda i, name: name == "back_left" and i >= 5):
        now_ns = item.stamp_ns
        released = subject.expire(now_ns) + subject.add(name, item, now_ns)
        delays += [(now_ns - item.stamp_ns) // MS for item in released]
    assert sum(delay > 100 for delay in delays) == SILENT_AFTER
    assert delays[-1] == 0


def watch(subject: StreamCollector, items: list[tuple[str, Item]], delay_ms: int = 30) -> list[tuple[StreamSet, int]]:
    """Return the sets with the time from their last member's arrival to their release, looked at every 10 ms."""
    released: list[tuple[StreamSet, int]] = []
    pending = deque(items)
    for now_ns in range(0, items[-1][1].stamp_ns + 1000 * MS, 10 * MS):
        out = subject.expire(now_ns)
        while pending and pending[0][1].stamp_ns + delay_ms * MS <= now_ns:
            name, item = pending.popleft()
            out += subject.add(name, item, now_ns)
        released += [(item, now_ns - item.stamp_ns - delay_ms * MS) for item in out]
    return released


def users(sets: list[tuple[StreamSet, int]], name: str, start_ms: float) -> list[bool]:
    return [name in item.items for item, _ in sets if item.stamp_ns >= start_ms * MS]


@pytest.mark.parametrize("period_ms", PERIODS_MS)
@pytest.mark.parametrize("away", FIRING_MS)
def test_a_camera_that_was_away_returns_wherever_it_fires(away: str, period_ms: float) -> None:
    subject = collector()
    sets = watch(subject, rounds(40, period_ms, lost=lambda i, name: name == away and 5 <= i < 12))
    assert not any(users(sets, away, 100 + 5.5 * period_ms)[:5])
    assert all(users(sets, away, 100 + 13.5 * period_ms))
    assert all(spread_ms(item) <= 43 for item, _ in sets)
    assert subject.silent_streams == ()
    assert subject.drops.total() <= 1


@pytest.mark.parametrize("period_ms", PERIODS_MS)
@pytest.mark.parametrize("late", FIRING_MS)
def test_a_camera_that_starts_late_is_used_wherever_it_fires(late: str, period_ms: float) -> None:
    sets = watch(collector(), rounds(40, period_ms, lost=lambda i, name: name == late and i < 8))
    assert all(users(sets, late, 100 + 9.5 * period_ms))
    assert all(spread_ms(item) <= 43 for item, _ in sets)


def test_all_cameras_return_after_a_reset_of_their_hub() -> None:
    subject = collector()
    sets = watch(subject, rounds(40, 100.0, lost=lambda i, name: name != "front_left" and 5 <= i < 15))
    assert all(item.is_complete for item, _ in sets if item.stamp_ns >= (100 + 1700) * MS)
    assert subject.silent_streams == ()


def test_a_slow_camera_that_fires_last_is_used_and_does_not_hold_up_the_others() -> None:
    sets = watch(collector(), rounds(60, 100.0, lost=lambda i, name: name == "back_left" and i % 5))
    settled = [pair for pair in sets if pair[0].stamp_ns >= 1500 * MS]
    assert [("back_left" in item.items) for item, _ in settled].count(True) == 9
    assert sum(wait_ns > 20 * MS for _, wait_ns in settled) == 0


@pytest.mark.parametrize("lead_ms", [0, 10, 20])
def test_a_camera_three_times_as_fast_makes_sets_of_its_own_and_costs_the_others_none(lead_ms: int) -> None:
    items = [("front", Item(i * 33 * MS)) for i in range(3, 150)]
    items += [(name, Item((i * 100 + lead_ms) * MS)) for i in range(1, 49) for name in CAMERAS if name != "front"]
    subject = collector()
    sets = watch(subject, sorted(items, key=lambda pair: pair[1].stamp_ns))
    assert subject.drops.total() == 0
    assert sum(len(item.items) >= 5 for item, _ in sets) == 48
    assert sum(wait_ns > 35 * MS for item, wait_ns in sets if item.stamp_ns > 400 * MS) <= 2


def test_irregular_triggers_do_not_part_the_cameras() -> None:
    items: list[tuple[str, Item]] = []
    for start_ms in (1000, 3000, 5000, 5300, 5900, 9000, 9250):
        items += [(name, Item((start_ms + firing) * MS)) for name, firing in FIRING_MS.items()]
    assert [item.is_complete for item, _ in watch(collector(), items)] == [True] * 7


def test_a_camera_that_always_comes_after_the_deadline_is_waited_for_only_a_few_times() -> None:
    subject = collector()
    events = [(item.stamp_ns + (300 * MS if name == "back" else 0), name, item) for name, item in rounds(20, 500.0)]
    waits = []
    for now_ns, name, item in sorted(events, key=lambda event: event[0]):
        released = subject.expire(now_ns) + subject.add(name, item, now_ns)
        waits += [now_ns - out.stamp_ns for out in released]
    assert sum(wait_ns > 0 for wait_ns in waits) == SILENT_AFTER


def test_a_camera_at_half_rate_joins_every_second_set() -> None:
    sets = run(collector(), rounds(20, 83.3, lost=lambda i, name: name == "back" and i % 2 == 1))
    assert [("back" in item.items) for item in sets] == [i % 2 == 0 for i in range(20)]


@pytest.mark.parametrize("period_ms", PERIODS_MS)
@pytest.mark.parametrize("lost", FIRING_MS)
def test_a_lost_picture_does_not_delay_or_mix_the_next_round(lost: str, period_ms: float) -> None:
    sets = run(collector(), rounds(10, period_ms, lost=lambda i, name: (i, name) == (4, lost)))
    assert [item.missing for item in sets] == [()] * 4 + [(lost,)] + [()] * 5


def test_cameras_that_share_out_the_period_evenly_stay_together_despite_jitter() -> None:
    generator = random.Random(1)
    items = [
        (name, Item(round((100 + i * 100 + slot * 100 / 6 + generator.uniform(-3, 3)) * MS)))
        for i in range(100)
        for slot, name in enumerate(CAMERAS)
    ]
    assert sum(item.is_complete for item in run(collector(), items)) == 100


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_arrival_order_within_a_burst_does_not_matter(seed: int) -> None:
    generator = random.Random(seed)
    shuffled: list[tuple[str, Item]] = []
    items = rounds(6, 500.0)
    for start in range(0, len(items), 6):
        burst = items[start : start + 6]
        generator.shuffle(burst)
        shuffled += burst
    found = [(item.stamp_ns, sorted(item.items)) for item in run(collector(), shuffled)]
    assert found == [(item.stamp_ns, sorted(item.items)) for item in run(collector(), items)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(CAMERAS), st.integers(0, 3000), st.integers(0, 300)), max_size=80))
def test_sets_never_go_back_use_an_item_once_and_memory_is_bounded(events: list[tuple[str, int, int]]) -> None:
    subject = collector(max_open_sets=4, jump_s=100.0)
    now_ns, sets = 0, []
    for name, stamp_ms, elapsed_ms in events:
        now_ns += elapsed_ms * MS
        sets += subject.add(name, Item(stamp_ms * MS, name), now_ns)
        assert len(subject._open) <= 4
    sets += subject.flush()
    stamps = [item.stamp_ns for item in sets]
    assert stamps == sorted(set(stamps))
    used = [id(member) for item in sets for member in item.items.values()]
    assert len(used) == len(set(used))


def test_the_deadline_releases_what_is_there_and_the_quorum_holds() -> None:
    subject = collector(quorum=2)
    subject.add("front", Item(0), 0)
    assert subject.expire(199 * MS) == []
    assert subject.expire(200 * MS) == []
    assert subject.drops["too few others"] == 1
    subject.add("front", Item(500 * MS), 500 * MS)
    subject.add("back", Item(510 * MS), 510 * MS)
    (released,) = subject.expire(700 * MS)
    assert set(released.items) == {"front", "back"}
    assert not released.is_complete


def test_late_and_repeated_items_are_dropped_and_counted() -> None:
    subject = collector()
    subject.add("front", Item(1000 * MS), 0)
    subject.expire(300 * MS)
    assert subject.add("back", Item(1020 * MS), 310 * MS) == []
    subject.add("front", Item(1000 * MS), 320 * MS)
    assert subject.drops == {"late": 1, "duplicate": 1}


@pytest.mark.parametrize(
    ("stamp_ns", "reason"),
    [
        pytest.param(lambda stamp_ns: 0, "stamp is 0", id="not stamped"),
        pytest.param(lambda stamp_ns: 70, "duplicate", id="one stamp for all"),
        pytest.param(lambda stamp_ns: stamp_ns - 5000 * MS, "late", id="5 s behind"),
    ],
)
def test_what_a_camera_delivers_in_vain_is_counted_with_the_reason(stamp_ns: Any, reason: str) -> None:
    subject = collector()
    for name, item in rounds(20, 500.0):
        subject.add(name, Item(stamp_ns(item.stamp_ns)) if name == "back" else item, item.stamp_ns)
    status = subject.status["back"]
    assert (status.unused >= 15, status.unused_reason) == (True, reason)
    assert all(subject.status[name].unused == 0 for name in CAMERAS if name != "back")


def test_a_forward_jump_of_all_clocks_costs_no_more_than_a_set() -> None:
    subject = collector()
    items = [
        (name, Item(item.stamp_ns + (3_600_000 * MS if i >= 33 else 0)))
        for i, (name, item) in enumerate(rounds(20, 100.0))
    ]
    sets = [
        out for i, (name, item) in enumerate(items) for out in subject.add(name, item, rounds(20, 100.0)[i][1].stamp_ns)
    ]
    assert [item.is_complete for item in sets].count(True) >= 18
    assert all(item.is_complete for item in sets if item.stamp_ns > 3_600_700 * MS)


@pytest.mark.parametrize("shift_ms", [300, 5_000])
def test_a_camera_whose_clock_is_ahead_does_not_mute_the_others(shift_ms: int) -> None:
    subject = collector()
    released: list[StreamSet] = []
    for name, item in rounds(20, 100.0):
        now_ns = item.stamp_ns + 30 * MS
        shifted = Item(item.stamp_ns + shift_ms * MS) if name == "back" else item
        released += subject.add(name, shifted, now_ns)
    others = [item for item in released if len(item.items) == 5]
    assert len(others) >= 18
    assert subject.status["back"].unused > 10
    assert subject.status["back"].unused_reason == "ahead of the others"
    assert subject.drops.keys() == {"ahead of the others"}
    for name, item in rounds(30, 100.0)[20 * 6 :]:
        subject.add(name, Item(item.stamp_ns + shift_ms * MS), item.stamp_ns + 30 * MS)
    assert subject.status["back"].unused == 0


def test_a_camera_whose_clock_is_behind_costs_the_others_at_most_the_deadline() -> None:
    subject = collector()
    delays_ns: list[int] = []
    pending = [(item.stamp_ns, name, item) for name, item in rounds(20, 500.0)]
    for now_ns in range(0, 12_000 * MS, MS):
        released = subject.expire(now_ns)
        while pending and pending[0][0] <= now_ns:
            _, name, item = pending.pop(0)
            shifted = Item(item.stamp_ns - 400 * MS) if name == "back" else item
            released += subject.add(name, shifted, now_ns)
        delays_ns += [now_ns - out.stamp_ns for out in released if len(out.items) == 5]
    assert len(delays_ns) == 20
    assert max(delays_ns) <= 200 * MS


def test_sets_stop_waiting_for_an_ego_pose_that_nobody_publishes() -> None:
    subject = collector((StreamSpec("ego", "covering"),))
    delays = []
    for round_ in range(SILENT_AFTER + 2):
        items = [(name, Item(item.stamp_ns + round_ * 500 * MS)) for name, item in rounds(1, 500)]
        released = [out for name, item in items for out in subject.add(name, item, item.stamp_ns)]
        now_ns = items[-1][1].stamp_ns
        while not released:
            now_ns += 10 * MS
            released = subject.expire(now_ns)
        delays.append(now_ns - items[-1][1].stamp_ns)
    assert all(delay > 0 for delay in delays[:SILENT_AFTER])
    assert delays[SILENT_AFTER:] == [0, 0]


def test_a_set_waits_until_the_ego_pose_covers_it() -> None:
    subject = collector((StreamSpec("ego", "covering"),))
    for name, item in rounds(1, 500.0):
        assert subject.add(name, item, item.stamp_ns) == []
    assert subject.cover("ego", 142 * MS, 150 * MS) == []
    (released,) = subject.cover("ego", 143 * MS, 151 * MS)
    assert released.is_complete


def test_without_an_ego_pose_a_complete_set_comes_at_the_deadline() -> None:
    subject = collector((StreamSpec("ego", "covering"),))
    for name, item in rounds(1, 500.0):
        subject.add(name, item, item.stamp_ns)
    (released,) = subject.expire(300 * MS)
    assert set(released.items) == set(CAMERAS)


def test_the_newest_held_item_not_after_the_set_is_attached() -> None:
    subject = collector((StreamSpec("points", "latest", max_age_s=0.5),))
    for stamp_ms in (10, 60, 400):
        subject.add("points", Item(stamp_ms * MS), stamp_ms * MS)
    first, second = run(subject, rounds(2, 1500.0))
    assert first.items["points"].stamp_ns == 60 * MS
    assert second.missing == ("points",)


MASK = StreamSpec("mask", "optional")


def test_the_nearest_optional_item_is_attached_once_and_its_absence_is_no_lack() -> None:
    subject = collector((MASK,))
    for stamp_ms in (60, 130, 150, 300):
        subject.add("mask", Item(stamp_ms * MS), stamp_ms * MS)
    first, second = run(subject, rounds(2, 100.0, lost=lambda i, name: i == 1 and name == "back"))
    assert (first.items["mask"].stamp_ns, first.is_complete) == (150 * MS, True)
    assert (second.items["mask"].stamp_ns, second.missing) == (300 * MS, ("back",))
    (third,) = run(collector((MASK,)), rounds(1, 100.0))
    assert ("mask" in third.items, third.is_complete) == (False, True)


def test_a_shared_optional_item_is_attached_to_every_set_in_its_window_and_then_dropped() -> None:
    specs = [StreamSpec("front"), StreamSpec("mask", "optional", is_shared=True, offset_s=0.5)]
    subject = StreamCollector(specs, window_s=0.04, deadline_s=0.1)
    attached: list[int | None] = []
    for number in range(6):
        if number in (0, 1, 4):
            subject.add("mask", Item((500 + 30 * number) * MS), 30 * number * MS)
        (released,) = subject.add("front", Item(30 * number * MS), 30 * number * MS)
        mask = released.items.get("mask")
        attached.append(None if mask is None else mask.stamp_ns // MS - 500)
    assert attached == [0, 30, 30, None, 120, 120]
    assert len(subject._held["mask"]) == 1


def test_of_an_optional_stream_no_more_items_are_held_than_allowed() -> None:
    subject = collector((MASK,), max_held=2)
    for stamp_ms in (100, 140, 300, 400):
        subject.add("mask", Item(stamp_ms * MS), stamp_ms * MS)
    (released,) = run(subject, rounds(1, 100.0))
    assert "mask" not in released.items


def test_an_optional_stream_makes_no_set_and_does_not_count_towards_the_quorum() -> None:
    subject = collector((MASK,), quorum=2)
    for stamp_ms in range(0, 2000, 200):
        assert subject.add("mask", Item(stamp_ms * MS), stamp_ms * MS) == []
        assert subject.expire((stamp_ms + 190) * MS) == []
    subject.add("front", Item(2000 * MS), 2000 * MS)
    subject.add("mask", Item(2000 * MS), 2000 * MS)
    assert subject.expire(2300 * MS) == []
    assert subject.drops == {"too few others": 1}
    with pytest.raises(ConfigError, match="quorum is 7, the rig has 6 streams"):
        collector((MASK,), quorum=7)


@pytest.mark.parametrize("role", ["optional", "latest"])
def test_one_old_item_of_a_stream_that_is_only_attached_resets_nothing(role: Any) -> None:
    subject = collector((StreamSpec("points", role),))
    sets: list[StreamSet] = []
    for name, item in rounds(10, 100.0):
        sets += subject.add(name, item, item.stamp_ns)
        if name == "front":
            stamp_ns = item.stamp_ns - (5000 * MS if item.stamp_ns > 600 * MS else 0)
            sets += subject.add("points", Item(stamp_ns), item.stamp_ns)
    assert (len(sets), subject.resets) == (10, 0)


def test_a_stream_can_have_a_window_of_its_own() -> None:
    specs = [StreamSpec("front"), StreamSpec("rear", window_s=0.3)]
    subject = StreamCollector(specs, window_s=0.02, deadline_s=0.5)
    subject.add("front", Item(1000 * MS), 0)
    (released,) = subject.add("rear", Item(1250 * MS), 0)
    assert set(released.items) == {"front", "rear"}
    strict = StreamCollector([StreamSpec("front"), StreamSpec("rear")], window_s=0.02, deadline_s=0.5)
    strict.add("front", Item(1000 * MS), 0)
    assert [set(out.items) for out in strict.add("rear", Item(1250 * MS), 0)] == [{"front"}]


def test_a_known_offset_is_removed_before_grouping() -> None:
    specs = [StreamSpec("front"), StreamSpec("back", offset_s=0.3)]
    subject = StreamCollector(specs, window_s=0.02, deadline_s=0.5)
    subject.add("front", Item(1000 * MS), 0)
    (released,) = subject.add("back", Item(1310 * MS), 0)
    assert released.stamp_ns == 1010 * MS


@pytest.mark.parametrize("jumps", ["stamps", "arrival"])
def test_a_clock_that_jumps_back_starts_afresh(jumps: str) -> None:
    subject = collector()
    first = run(subject, rounds(10, 500.0))
    back_ns = 50_000 * MS
    again = [
        released
        for name, item in rounds(10, 500.0)
        for released in subject.add(
            name, Item(item.stamp_ns + (0 if jumps == "stamps" else 10_000 * MS)), item.stamp_ns - back_ns
        )
    ]
    assert len(first) == len(again) == 10
    assert subject.resets == 1


def test_status_tells_what_is_waited_for() -> None:
    subject = collector()
    assert subject.waiting_for == CAMERAS
    subject.add("back", Item(5), 0)
    assert "back" not in subject.waiting_for
    assert subject.status["back"].count == 1


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        pytest.param(lambda: collector(quorum=7), "quorum is 7, the rig has 6", id="quorum"),
        pytest.param(lambda: collector((StreamSpec("front"),)), "used twice", id="name twice"),
        pytest.param(lambda: collector().add("frnt", Item(0), 0), "did you mean 'front'", id="unknown stream"),
    ],
)
def test_wrong_use_is_explained(action: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        action()

"""The queue of the object_reconstruction node: what goes first, what gives way, and who is answered."""

from __future__ import annotations

import threading

import pytest
from tabletop import START_NS, ball_pixels, camera_image

from lift3d_ros.nodes.jobs import Job
from lift3d_ros.nodes.object_requests import PendingRequest, RequestQueue
from lift3d_ros.pipelines.object_requests import PlacedObject
from lift3d_ros.pipelines.object_sets import ObjectRequest

pytestmark = pytest.mark.ros


class Requests:
    """A queue, and the sentences with which requests ended."""

    def __init__(self, length: int = 3) -> None:
        self.queue = RequestQueue(length)
        self.ended: dict[str, str] = {}

    def put(self, name: str, key: str = "", ms: int = 0) -> PendingRequest:
        def on_done(placed: PlacedObject | None, sentence: str) -> None:
            assert name not in self.ended, "answered twice"
            self.ended[name] = sentence

        request = ObjectRequest(camera_image(START_NS + ms * 1_000_000), ball_pixels(), label=name, key=key)
        pending = PendingRequest(request, on_done)
        self.queue.put(Job(pending, 0.0))
        return pending

    def take_all(self) -> list[str]:
        taken = []
        while (job := self.queue.take(0.0)) is not None:
            taken.append(job.item.request.label)
        return taken


def test_what_was_asked_for_goes_first_and_each_kind_in_order() -> None:
    requests = Requests(4)
    for name, key in (("cup", "cup 1"), ("first", ""), ("can", "can 2"), ("second", "")):
        requests.put(name, key)
    assert requests.take_all() == ["first", "second", "cup", "can"]
    assert requests.ended == {}


def test_of_an_object_the_newest_picture_waits() -> None:
    requests = Requests()
    requests.put("old", "cup 1")
    requests.put("other", "cup 2")
    requests.put("new", "cup 1")
    assert requests.ended == {"old": "a newer picture of the object came"}
    assert requests.queue.dropped == 1
    assert requests.take_all() == ["other", "new"]


def test_where_there_is_no_room_the_oldest_object_gives_way() -> None:
    requests = Requests(2)
    for number in range(3):
        requests.put(f"cup {number}", f"cup {number}")
    requests.put("asked", "")
    assert list(requests.ended) == ["cup 0", "cup 1"]
    assert requests.take_all() == ["asked", "cup 2"]
    assert requests.queue.dropped == 2


def test_what_was_asked_for_never_gives_way_but_is_refused_when_it_comes() -> None:
    requests = Requests(2)
    for name in ("first", "second", "third"):
        requests.put(name)
    requests.put("cup", "cup 1")
    assert list(requests.ended) == ["third", "cup"]
    assert requests.ended["third"].startswith("2 requests wait already (queue.length)")
    assert requests.take_all() == ["first", "second"]


def test_a_request_that_waits_can_be_withdrawn_and_one_that_was_taken_cannot() -> None:
    requests = Requests()
    waiting, taken = requests.put("waiting", "cup 1"), requests.put("taken")
    requests.queue.take(0.0)
    assert requests.queue.withdraw(waiting)
    assert not requests.queue.withdraw(taken)
    assert requests.take_all() == []


@pytest.mark.parametrize("end", ["clear", "close"])
def test_whoever_waits_is_answered_when_the_queue_ends(end: str) -> None:
    requests = Requests()
    requests.put("cup", "cup 1")
    requests.put("asked")
    getattr(requests.queue, end)()
    assert sorted(requests.ended) == ["asked", "cup"]
    requests.put("late")
    assert ("late" in requests.ended) == (end == "close")


def test_closing_wakes_the_worker() -> None:
    requests = Requests()
    taken: list[object] = []
    worker = threading.Thread(target=lambda: taken.append(requests.queue.take()))
    worker.start()
    requests.queue.close()
    worker.join(5.0)
    assert taken == [None]


def test_a_request_is_answered_once_whatever_happens_to_it() -> None:
    requests = Requests()
    pending = requests.put("asked")
    pending.finish(None, "first")
    pending.finish(None, "second")
    requests.queue.close()
    assert requests.ended == {"asked": "first"}


def test_progress_is_told_at_each_stage_and_else_ten_times_a_second() -> None:
    told: list[tuple[str, float]] = []
    request = ObjectRequest(camera_image())
    pending = PendingRequest(request, on_progress=lambda stage, share: told.append((stage, share)))
    for number in range(1000):
        pending.note_progress("lift" if number < 500 else "extract", number / 1000)
    assert told[0] == ("lift", 0.0)
    assert ("extract", 0.5) in told
    assert len(told) < 20
    assert pending.progress == ("extract", 0.999)

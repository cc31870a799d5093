"""A slow detector gets new items, and a fast one does not wait for them to be prepared."""

from __future__ import annotations

import threading

import pytest

from lift3d_ros.sync.ahead import prepared_ahead
from lift3d_ros.sync.mailbox import Mailbox


def work(seconds: float) -> None:
    threading.Event().wait(seconds)


@pytest.mark.parametrize("drop", [True, False])
def test_the_next_item_is_prepared_while_the_first_is_worked_on(drop: bool) -> None:
    mailbox: Mailbox[int] = Mailbox(drop=drop)
    is_prepared = threading.Event()

    def prepare(item: int) -> str:
        if item == 2:
            is_prepared.set()
        return f"prepared {item}"

    mailbox.put(1)
    items = prepared_ahead(mailbox, prepare)
    assert next(items) == (1, "prepared 1")
    mailbox.put(2)
    assert is_prepared.wait(5.0)
    assert next(items) == (2, "prepared 2")
    mailbox.close()
    assert list(items) == []


def test_what_comes_while_the_detector_works_is_worked_on_next_not_what_was_there_when_it_began() -> None:
    mailbox: Mailbox[str] = Mailbox()
    items = prepared_ahead(mailbox, lambda item: item)

    def work_for_a_while() -> str:
        mailbox.put("early")
        work(0.2)
        mailbox.put("newest")
        work(0.2)
        return next(items)[0]

    mailbox.put("first")
    next(items)
    work_for_a_while()  # how long that takes is not known yet
    assert [work_for_a_while() for _ in range(3)] == ["newest"] * 3
    mailbox.close()
    assert list(items) == []


def test_items_of_a_paced_run_are_all_worked_on_in_order() -> None:
    mailbox: Mailbox[int] = Mailbox(drop=False)
    for item in range(5):
        mailbox.put(item)
    items = prepared_ahead(mailbox, lambda item: item * 10)
    assert [next(items) for _ in range(5)] == [(item, item * 10) for item in range(5)]
    mailbox.close()
    assert list(items) == []


def test_an_item_that_cannot_be_used_is_passed_over() -> None:
    mailbox: Mailbox[int] = Mailbox(drop=False)
    for item in range(4):
        mailbox.put(item)
    items = prepared_ahead(mailbox, lambda item: item if item % 2 else None)
    assert [next(items)[0] for _ in range(2)] == [1, 3]
    mailbox.close()
    assert list(items) == []


def test_giving_up_in_the_middle_ends_the_thread() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(1)
    items = prepared_ahead(mailbox, lambda item: item)
    next(items)
    mailbox.close()
    items.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]

"""The mailbox keeps the newest item, wakes its reader and never blocks its writer."""

from __future__ import annotations

import threading

from lift3d_ros.sync.mailbox import MAX_KEPT, Mailbox


def test_the_newest_item_wins_and_losses_are_counted() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert [mailbox.put(i) for i in range(3)] == [0, 1, 1]
    assert mailbox.take(0) == 2
    assert mailbox.take(0) is None
    assert mailbox.dropped == 2


def test_paced_runs_keep_every_item_in_order() -> None:
    mailbox: Mailbox[int] = Mailbox(drop=False)
    for i in range(3):
        mailbox.put(i)
    assert [mailbox.take(0) for _ in range(3)] == [0, 1, 2]
    assert mailbox.dropped == 0


def test_a_run_that_should_be_paced_but_is_not_fills_no_memory() -> None:
    mailbox: Mailbox[int] = Mailbox(drop=False)
    assert sum(mailbox.put(i) for i in range(1000)) == 1000 - MAX_KEPT
    assert mailbox.take(0) == 1000 - MAX_KEPT
    assert mailbox.dropped == 1000 - MAX_KEPT


def test_a_waiting_reader_is_woken_by_an_item_and_by_closing() -> None:
    mailbox: Mailbox[str] = Mailbox()
    received: list[str | None] = []
    has_item = threading.Event()

    def read() -> None:
        received.append(mailbox.take())
        has_item.set()
        received.append(mailbox.take())

    reader = threading.Thread(target=read)
    reader.start()
    mailbox.put("item")
    assert has_item.wait(5)
    mailbox.close()
    reader.join(timeout=5)
    assert not reader.is_alive()
    assert received == ["item", None]


def test_closed_and_cleared_mailboxes_are_empty() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(1)
    mailbox.clear()
    assert mailbox.take(0) is None
    mailbox.close()
    mailbox.put(2)
    assert mailbox.take(0) is None
    assert mailbox.is_closed

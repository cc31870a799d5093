"""Items of a sequence by their place, where they can only be made one after the other."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class InOrder(Generic[Item]):
    """Keeps the place in a sequence; reading in order makes each item once, going back starts it anew.

    Holds one item and what its sequence holds open, so make and use it in one process.
    """

    def __init__(self, start: Callable[[str], Generator[Item, None, None]]) -> None:
        """Use `start`, which gives the items of a named sequence from the beginning."""
        self._start = start
        self._name = ""
        self._items: Generator[Item, None, None] | None = None
        self._last: tuple[int, Item] | None = None

    def get(self, name: str, index: int) -> Item:
        """Return an item of a sequence.

        Raises:
            IndexError: the sequence ends before it.
        """
        if self._items is None or name != self._name or (self._last is not None and index < self._last[0]):
            self.close()
            self._name, self._items = name, self._start(name)
        place = -1 if self._last is None else self._last[0]
        while self._last is None or place < index:
            try:
                self._last = (place := place + 1, next(self._items))
            except StopIteration:
                self.close()
                raise IndexError(f"'{name}' has {place} items; asked for item {index}") from None
            except BaseException:
                self.close()
                raise
        return self._last[1]

    def close(self) -> None:
        """Let go of the sequence."""
        if self._items is not None:
            self._items.close()
        self._items = self._last = None

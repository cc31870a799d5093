"""What the worker of a node runs, and what it runs it on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

ItemT = TypeVar("ItemT")
PreparedT = TypeVar("PreparedT")
ResultT = TypeVar("ResultT")


class Pipeline(Protocol[ItemT, PreparedT, ResultT]):
    """What the worker runs; see the classes in `lift3d_ros.pipelines`."""

    @property
    def notice(self) -> str:
        """What the engine says of itself, for example that a fallback serves; empty while all is well."""

    def prepare(self, item: ItemT, /) -> PreparedT:
        """Do all that needs nothing of earlier items; may run while another item is inferred."""

    def infer(self, prepared: PreparedT, /) -> ResultT:
        """Turn what was prepared into a result; called in order."""

    def reset(self) -> None:
        """Forget earlier items."""


@dataclass(frozen=True)
class Job(Generic[ItemT]):
    """An item on its way through the worker; `released_s` is steady time."""

    item: ItemT
    released_s: float

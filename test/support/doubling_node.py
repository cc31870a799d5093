"""The smallest task node there is: it doubles numbers that never arrive."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lift3d_ros.config import group, setting
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.nodes.base import PipelineNode
from lift3d_ros.nodes.diagnostics import Level, Status
from lift3d_ros.nodes.jobs import Job


@dataclass(frozen=True)
class Sync:
    drop: bool = setting(True, "newest item wins")


@dataclass(frozen=True)
class Config:
    autostart: bool = setting(True, "as all nodes have it")
    sync: Sync = group(Sync)


class Inputs:
    """Nothing ever arrives."""

    def __init__(self) -> None:
        self.tree = TransformTree(1.0)

    def close(self) -> None: ...

    def reset(self) -> None: ...

    def adapt_to_publishers(self) -> None: ...

    def waiting_for(self) -> list[str]:
        return []

    def status(self) -> Status:
        return Status(Level.OK, "all well")


class Doubling:
    """A pipeline whose engine says what the test lets it say."""

    notice = "serving with onnxruntime while the engine is built"

    def prepare(self, item: int, /) -> int:
        return item

    def infer(self, prepared: int, /) -> int:
        return 2 * prepared

    def reset(self) -> None: ...


class DoublingNode(PipelineNode[int, int, int]):
    def __init__(self, name: str = "doubling") -> None:
        super().__init__(name, Config)

    def check(self) -> None: ...

    def open_pipeline(self) -> Doubling:
        return Doubling()

    def open_inputs(self) -> Inputs:
        return Inputs()

    def open_outputs(self) -> None: ...

    def publish_result(self, job: Job[int], prepared: int, result: int) -> None: ...


@contextmanager
def log_of_the_package_kept() -> Iterator[None]:
    """Take down what a node in this process does to the log of the package."""
    logger = logging.getLogger("lift3d_ros")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)

"""Runs the skeleton lifter over sets of keypoints and keeps the results in a folder.

Files of the folder: `skeletons.jsonl` (one line for each set, the same bytes for the same input), `timing.jsonl` and
`run.json` (what was run).
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lift3d_ros.pipelines.keypoint_sets import KeypointSet, KeypointSetLifter
from lift3d_ros.replay.result_files import LastingProblems, writing_results
from lift3d_ros.replay.results import refuse_results
from lift3d_ros.replay.run import FrameRange
from lift3d_ros.replay.skeleton_results import skeletons_to_json
from lift3d_ros.types import Skeletons3D

SKELETONS_FILE = "skeletons.jsonl"

logger = logging.getLogger(__name__)


def check_unused(path: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds skeletons unless they shall be replaced.

    Raises:
        Lift3dError: it does.
    """
    refuse_results(path / SKELETONS_FILE, overwrite=overwrite)


def run_lifter(
    sets: Iterable[KeypointSet],
    lifter: KeypointSetLifter,
    path: Path,
    facts: Mapping[str, Any],
    frames: FrameRange,
    on_result: Callable[[KeypointSet, Skeletons3D], None],
) -> int:
    """Lift every set of the range in order and write the results to the folder `path`; tracks begin with the range.

    A problem that lasts is logged when it begins.

    Returns:
        The number of results.

    Raises:
        Lift3dError: the folder cannot be written.
    """
    count, problems = 0, LastingProblems(logger, "keypoints")
    with writing_results(path, SKELETONS_FILE, facts) as files:
        for item in itertools.islice(sets, frames.start, frames.stop):
            result = lifter.infer(lifter.prepare(item))
            problems.tell(result.stamp_ns, result.problems)
            files.add(skeletons_to_json(result))
            files.add_timing(result.stamp_ns, result.timings_s)
            on_result(item, result)
            count += 1
    return count

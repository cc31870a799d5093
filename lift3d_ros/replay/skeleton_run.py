"""Runs the skeleton lifter over sets of keypoints and keeps the results in a folder.

Files of the folder: `skeletons.jsonl` (one line for each set, the same bytes for the same input), `timing.jsonl` and
`run.json` (what was run).
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lift3d_ros.errors import Lift3dError
from lift3d_ros.pipelines.keypoint_sets import KeypointSet, KeypointSetLifter
from lift3d_ros.replay.results import TIMING_FILE, refuse_results, timings_to_json
from lift3d_ros.replay.run import RUN_FILE, FrameRange
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
    count, told = 0, set[str]()
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / RUN_FILE).write_text(json.dumps(dict(facts), indent=2) + "\n", encoding="utf-8")
        with (
            (path / SKELETONS_FILE).open("w", encoding="utf-8") as results,
            (path / TIMING_FILE).open("w", encoding="utf-8") as timings,
        ):
            for item in itertools.islice(sets, frames.start, frames.stop):
                result = lifter.infer(lifter.prepare(item))
                for problem in result.problems:
                    if problem not in told:
                        logger.warning("keypoints at %d ns: %s", result.stamp_ns, problem)
                told = set(result.problems)
                results.write(json.dumps(skeletons_to_json(result)) + "\n")
                timings.write(timings_to_json(result.stamp_ns, result.timings_s) + "\n")
                on_result(item, result)
                count += 1
    except OSError as error:
        raise Lift3dError(
            f"{path}: the results cannot be written ({error}); check permissions and free space, or give another folder"
        ) from None
    return count

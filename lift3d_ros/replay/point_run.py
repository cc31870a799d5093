"""Runs the point encoder over sets of clouds and keeps the results in a folder.

Files of the folder: `features.jsonl` (one line for each set) and `features/STAMP.npz` (its arrays), the same bytes for
the same input; `timing.jsonl` and `run.json` (what was run).
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lift3d_ros.errors import CloudError
from lift3d_ros.pipelines.cloud_sets import CloudSet, CloudSetEncoder, PreparedCloudSet
from lift3d_ros.replay.point_results import FEATURES_FILE, FEATURES_FOLDER, features_to_json, write_feature_arrays
from lift3d_ros.replay.result_files import LastingProblems, writing_results
from lift3d_ros.replay.results import refuse_results
from lift3d_ros.replay.run import FrameRange
from lift3d_ros.types import PointFeatureSet

logger = logging.getLogger(__name__)


def check_unused(path: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds features unless they shall be replaced.

    Raises:
        Lift3dError: it does.
    """
    refuse_results(path / FEATURES_FILE, overwrite=overwrite)


def run_encoder(
    sets: Iterable[CloudSet],
    encoder: CloudSetEncoder,
    path: Path,
    facts: Mapping[str, Any],
    frames: FrameRange,
    on_result: Callable[[PreparedCloudSet, PointFeatureSet], None],
) -> int:
    """Encode every set of the range in order and write the results to the folder `path`, in place of those there.

    A cloud that cannot be read is left out. A problem that lasts is logged when it begins.

    Returns:
        The number of results.

    Raises:
        Lift3dError: the folder cannot be written.
    """
    count, problems = 0, LastingProblems(logger, "cloud")
    had_results = (path / FEATURES_FILE).exists()
    with writing_results(path, FEATURES_FILE, facts) as files:
        for earlier in (path / FEATURES_FOLDER).glob("*.npz") if had_results else ():
            earlier.unlink()
        (path / FEATURES_FOLDER).mkdir(exist_ok=True)
        for item in itertools.islice(sets, frames.start, frames.stop):
            try:
                prepared = encoder.prepare(item)
            except CloudError as error:
                problems.tell(item.stamp_ns, [f"left out: {error}"])
                continue
            result = encoder.infer(prepared)
            files.add(features_to_json(result, _write_arrays(result, path)))
            files.add_timing(result.stamp_ns, result.timings_s)
            on_result(prepared, result)
            count += 1
            problems.tell(item.stamp_ns, sorted(result.problems))
    return count


def _write_arrays(result: PointFeatureSet, path: Path) -> Path | None:
    """Write the arrays of a result and return the file's name inside of `path`; None without features."""
    if not result.features:
        return None
    name = Path(FEATURES_FOLDER) / f"{result.stamp_ns}.npz"
    write_feature_arrays(result, path / name)
    return name

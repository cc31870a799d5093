"""Runs the point encoder over sets of clouds and keeps the results in a folder.

Files of the folder: `features.jsonl` (one line for each set) and `features/STAMP.npz` (its arrays), the same bytes for
the same input; `timing.jsonl` and `run.json` (what was run).
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lift3d_ros.errors import CloudError, Lift3dError
from lift3d_ros.pipelines.cloud_sets import CloudSet, CloudSetEncoder, PreparedCloudSet
from lift3d_ros.replay.point_results import FEATURES_FILE, FEATURES_FOLDER, features_to_json, write_feature_arrays
from lift3d_ros.replay.results import TIMING_FILE, timings_to_json
from lift3d_ros.replay.run import RUN_FILE, FrameRange
from lift3d_ros.types import PointFeatureSet

logger = logging.getLogger(__name__)


def check_unused(path: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds features unless they shall be replaced.

    Raises:
        Lift3dError: it does.
    """
    if (path / FEATURES_FILE).exists() and not overwrite:
        raise Lift3dError(f"{path}: already holds results; replace them with --overwrite, or choose another folder")


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
    count, told = 0, set[str]()
    try:
        if (path / FEATURES_FILE).exists():
            for earlier in (path / FEATURES_FOLDER).glob("*.npz"):
                earlier.unlink()
        (path / FEATURES_FOLDER).mkdir(parents=True, exist_ok=True)
        (path / RUN_FILE).write_text(json.dumps(dict(facts), indent=2) + "\n", encoding="utf-8")
        with (
            (path / FEATURES_FILE).open("w", encoding="utf-8") as results,
            (path / TIMING_FILE).open("w", encoding="utf-8") as timings,
        ):
            for item in itertools.islice(sets, frames.start, frames.stop):
                try:
                    prepared = encoder.prepare(item)
                except CloudError as error:
                    problems: set[str] = {f"left out: {error}"}
                else:
                    result = encoder.infer(prepared)
                    problems = set(result.problems)
                    results.write(json.dumps(features_to_json(result, _write_arrays(result, path))) + "\n")
                    timings.write(timings_to_json(result.stamp_ns, result.timings_s) + "\n")
                    on_result(prepared, result)
                    count += 1
                for problem in sorted(problems - told):
                    logger.warning("cloud at %d ns: %s", item.stamp_ns, problem)
                told = problems
    except OSError as error:
        raise Lift3dError(
            f"{path}: the results cannot be written ({error}); check permissions and free space, or give another folder"
        ) from None
    return count


def _write_arrays(result: PointFeatureSet, path: Path) -> Path | None:
    """Write the arrays of a result and return the file's name inside of `path`; None without features."""
    if not result.features:
        return None
    name = Path(FEATURES_FOLDER) / f"{result.stamp_ns}.npz"
    write_feature_arrays(result, path / name)
    return name

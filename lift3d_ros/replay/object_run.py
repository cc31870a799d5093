"""Runs the object reconstructor over requests and keeps the meshes in a folder.

Files of the folder: `meshes/` (one .glb for each mesh), `objects.jsonl` (one line for each request, the same bytes for
the same input), `timing.jsonl` and `run.json` (what was run).
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lift3d_ros.atomic_file import write_atomically
from lift3d_ros.errors import Lift3dError
from lift3d_ros.pipelines.object_requests import PlacedObject, PreparedRequest, RequestReconstructor, mesh_file
from lift3d_ros.pipelines.object_sets import ObjectRequest
from lift3d_ros.replay.result_files import writing_results
from lift3d_ros.replay.results import refuse_results
from lift3d_ros.replay.run import FrameRange

OBJECTS_FILE = "objects.jsonl"
MESHES_FOLDER = "meshes"

logger = logging.getLogger(__name__)


def check_unused(path: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds objects unless they shall be replaced.

    Raises:
        Lift3dError: it does.
    """
    refuse_results(path / OBJECTS_FILE, overwrite=overwrite)


def run_requests(
    requests: Iterable[ObjectRequest],
    reconstructor: RequestReconstructor,
    path: Path,
    file_pattern: str,
    facts: Mapping[str, Any],
    frames: FrameRange,
    on_result: Callable[[ObjectRequest, PreparedRequest | None, PlacedObject | None], None],
) -> tuple[int, int]:
    """Reconstruct the object of every request of the range in order and write the results to the folder `path`.

    An object that cannot be reconstructed has a line that says why.

    Returns:
        The number of requests and that of meshes.

    Raises:
        Lift3dError: the folder cannot be written.
    """
    count, meshes = 0, 0
    with writing_results(path, OBJECTS_FILE, facts) as files:
        (path / MESHES_FOLDER).mkdir(exist_ok=True)
        for request in itertools.islice(requests, frames.start, frames.stop):
            prepared: PreparedRequest | None = None
            placed: PlacedObject | None = None
            document: dict[str, Any] = {"error": None}
            try:
                prepared = reconstructor.prepare(request)
                placed = reconstructor.infer(prepared)
                file = mesh_file(path / MESHES_FOLDER, file_pattern, request)
                write_atomically(file, placed.glb())
                document |= {"file": str(file.relative_to(path.resolve()))}
            except Lift3dError as error:
                logger.warning("%s at %d ns: %s", request.name, request.stamp_ns, error)
                document["error"] = str(error)
            files.add(document | _to_json(request, prepared, placed))
            if placed is not None:
                files.add_timing(request.stamp_ns, placed.mesh.timings_s)
            on_result(request, prepared, placed)
            count, meshes = count + 1, meshes + (placed is not None)
    return count, meshes


def _to_json(request: ObjectRequest, prepared: PreparedRequest | None, placed: PlacedObject | None) -> dict[str, Any]:
    """Return plain data of one request; lengths are rounded to 0.1 mm, or the same part of the cube's side."""
    box = request.box
    document: dict[str, Any] = {
        "stamp_ns": request.stamp_ns,
        "frame_id": request.image.frame_id,
        "label": request.label,
        "track_id": request.track_id,
        "box": None if box is None else [box.left, box.top, box.right, box.bottom],
        "cut out by": None if prepared is None else prepared.prepared.view.cutting,
    }
    if placed is None:
        return document
    mesh = placed.mesh
    return document | {
        "model": mesh.identity.name,
        "weights_sha256": mesh.identity.weights_sha256,
        "is_trained": mesh.identity.is_trained,
        "is_metric": placed.is_metric,
        "unit": "m" if placed.is_metric else "side of the cube",
        "size": np.round(np.ptp(placed.vertices, axis=0), 4).tolist(),
        "T_cam_object": np.round(placed.T_cam_object, 4).tolist() if placed.is_metric else None,
        "scale_source": None if mesh.pose is None else mesh.pose.scale_source,
        "scale_std": None if mesh.pose is None else round(mesh.pose.scale_std, 4),
        "vertices": len(mesh.vertices),
        "triangles": len(mesh.faces),
        "seen share": round(float(mesh.is_seen.mean()), 4),
        "threshold": mesh.threshold,
        "field queries": mesh.num_queries,
        "problems": list(placed.problems),
    }

"""Checks weights, cache folder and the files that lie outside the Python tree."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from lift3d_ros.doctor.report import Check, Section, bytes_text, count_text, fail, ok, warn
from lift3d_ros.errors import Lift3dError
from lift3d_ros.resources import cache_dir, find_resource
from lift3d_ros.weights.manifest import KnownModel, known_models, verified_weights_path

_CONFIG_FILES = (
    "config/bev_detection.yaml",
    "config/dds/fastdds_shared_memory.xml",
    "config/rigs",
    "msg/BevDetectionArray.msg",
    "launch/bev_detection.launch.py",
)
_INSTALL_AGAIN = "install the package again"
_LITTLE_BYTES = 1e9


def check_weights() -> Section:
    """Look at every model of the manifests: file there, hash right, trained or not."""
    try:
        models = known_models()
    except Lift3dError as error:
        return Section("weights", (fail("manifest", str(error), _INSTALL_AGAIN),))
    counts = Counter(model.manifest for model in models)
    checks = [ok("manifest", f"{path}: {count_text(count, 'model')}") for path, count in counts.items()]
    checks += [_check_model(model) for model in models]
    return Section("weights", tuple(checks))


def check_files() -> Section:
    """Look at the cache folder and at the configuration files."""
    checks = [_check_cache(cache_dir())]
    for name in _CONFIG_FILES:
        try:
            checks.append(ok(name, str(find_resource(name))))
        except Lift3dError as error:
            checks.append(fail(name, str(error), _INSTALL_AGAIN))
    return Section("files", tuple(checks))


def _check_model(model: KnownModel) -> Check:
    name, entry = model.name, model.entry
    if model.problem:
        return fail(name, model.problem, "give the model another name")
    try:
        path = verified_weights_path(name, entry)
    except Lift3dError as error:
        return fail(name, str(error), "copy the weights file of this release again")
    if path is None:
        return warn(
            name,
            f"{entry.method}, untrained weights: results are noise",
            "train the model, or give the path of an exported .onnx file as model",
        )
    return ok(name, f"{entry.method}, {path} ({bytes_text(path.stat().st_size)}), hash ok")


def _check_cache(folder: Path) -> Check:
    remedy = "name a folder that you may write to in LIFT3D_CACHE_DIR"
    existing = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    if not existing.is_dir():
        return fail("cache", f"{folder}: {existing} is not a folder", remedy)
    if existing == folder:
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            return fail("cache", f"{folder} cannot be written to ({error.strerror or error})", remedy)
    elif not os.access(existing, os.W_OK | os.X_OK):
        return fail("cache", f"{folder} does not exist and cannot be made in {existing}", remedy)
    used, free = _size_of(folder), shutil.disk_usage(existing).free
    text = f"{folder}, {bytes_text(used)} used, {bytes_text(free)} free"
    if free < _LITTLE_BYTES:
        return warn(
            "cache", text, "free some space ('lift3d engine prune' helps), or name another folder in LIFT3D_CACHE_DIR"
        )
    return ok("cache", text)


def _size_of(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:  # another process removed it, or the folder is closed to us
            continue
    return total

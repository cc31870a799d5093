"""One scene of a pack as bytes: the arrays of its samples one behind the other, as safetensors.

Arrays with one row for each sample: `index`, `stamp_ns`, `has_pose`, `T_world_base`, `linear_velocity`,
`angular_velocity` (both absent in older files, then unknown), `num_cameras`, `num_boxes`. Rows of cameras and of boxes
follow each other over all samples. Pictures are `images` (uint8), or `webp` (bytes one behind the other) with
`webp_ends` (where each one ends). The header holds the scene and the names of the cameras.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from lift3d_ros.datasets.cell_depths import grid_shape
from lift3d_ros.datasets.prepared import PreparedSample
from lift3d_ros.errors import DatasetError
from lift3d_ros.images.preprocess import InputSpec
from lift3d_ros.types import UInt8Array

MAX_DECODED_BYTES = 8 << 30
"""Pictures of one scene in memory; WebP is small, so the length of a file does not bound them."""

_CAMERA_FIELDS = ("image_from_base", "cell_depths")
_BOX_FIELDS = ("centers", "sizes", "yaws", "velocities", "labels", "visibility", "num_points")
_VELOCITIES = ("linear_velocity", "angular_velocity")
_MAX_BOX_ROWS = 10_000_000
_MAX_HEADER_BYTES = 64 << 20
_THREADS = 4
_DAMAGED = "The file is damaged or from another pack: delete it and prepare that scene again"

_Arrays = dict[str, NDArray[Any]]


def encode_samples(
    samples: Sequence[PreparedSample], scene: str, spec: InputSpec, num_classes: int, quality: int | None
) -> bytes:
    """Return the file of a scene.

    Raises:
        DatasetError: samples of another size, of another scene, or with labels outside of `num_classes`.
    """
    from safetensors.numpy import save

    where = f"scene '{scene}'"
    if not samples:
        raise DatasetError(f"{where}: no samples to write; leave the scene out")
    num_cameras = np.array([len(sample.cameras) for sample in samples], dtype=np.int64)
    num_boxes = np.array([len(sample.labels) for sample in samples], dtype=np.int64)
    arrays: _Arrays = {
        "index": np.array([sample.index for sample in samples], dtype=np.int64),
        "stamp_ns": np.array([sample.stamp_ns for sample in samples], dtype=np.int64),
        "has_pose": np.array([sample.has_pose for sample in samples], dtype=np.uint8),
        "T_world_base": np.stack([sample.T_world_base for sample in samples]).astype(np.float64),
        **{name: np.stack([getattr(sample, name) for sample in samples]) for name in _VELOCITIES},
        "num_cameras": num_cameras,
        "num_boxes": num_boxes,
    }
    for name in (*_CAMERA_FIELDS, *_BOX_FIELDS):
        arrays[name] = np.concatenate([getattr(sample, name) for sample in samples])
    _check(arrays, spec, num_classes, where)
    for sample in samples:
        expected = (len(sample.cameras), 3, spec.height, spec.width)
        if sample.scene != scene or sample.images.shape != expected:
            raise DatasetError(
                f"{where}: a sample of scene '{sample.scene}' with pictures {sample.images.shape}; expected samples of "
                f"this scene with pictures {expected}. Prepare the data again"
            )
    if quality is None:
        arrays["images"] = np.concatenate([sample.images for sample in samples])
    else:
        pictures = list(itertools.chain.from_iterable(sample.images for sample in samples))
        with ThreadPoolExecutor(_THREADS) as pool:
            streams = list(pool.map(lambda picture: _to_webp(picture, quality), pictures))
        arrays["webp"] = np.concatenate(streams)
        arrays["webp_ends"] = np.cumsum([len(stream) for stream in streams], dtype=np.int64)
    names = [list(sample.cameras) for sample in samples]
    # One entry only: safetensors writes several in an order that changes from run to run.
    return bytes(save(arrays, metadata={"pack": json.dumps({"scene": scene, "cameras": names})}))


def count_pictures(file: BinaryIO, label: str) -> int:
    """Return how many pictures the file of a scene has, by its header.

    Raises:
        DatasetError: it is damaged.
    """
    length = int.from_bytes(file.read(8), "little")
    try:
        if length > _MAX_HEADER_BYTES:
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(json.loads(file.read(length))["__metadata__"]["pack"])
        return sum(len(names) for names in header["cameras"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{label}: not readable ({error!r}). {_DAMAGED}") from None


def decode_samples(content: bytes, scene: str, spec: InputSpec, num_classes: int, label: str) -> list[PreparedSample]:
    """Return the samples that :func:`encode_samples` put into a file.

    Args:
        label: path of the file, for messages.

    Raises:
        DatasetError: damaged or of another pack.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays: _Arrays = load(content)
        # The first eight bytes are the length of the header; 'load' has checked it against the file.
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        header = json.loads(metadata["pack"])
        if header["scene"] != scene:
            raise DatasetError(f"{label}: holds scene '{header['scene']}'; expected '{scene}'. {_DAMAGED}")
        cameras = [tuple(map(str, names)) for names in header["cameras"]]
        for name in _VELOCITIES:
            arrays.setdefault(name, np.full((len(arrays["index"]), 3), np.nan))
        _check(arrays, spec, num_classes, label)
        if [len(names) for names in cameras] != arrays["num_cameras"].tolist():
            raise DatasetError(f"{label}: names of cameras and pictures do not fit together. {_DAMAGED}")
        images = _pictures(arrays, spec, label)
    except (SafetensorError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise DatasetError(f"{label}: not readable ({error!r}). {_DAMAGED}") from None
    camera_ends, box_ends = np.cumsum(arrays["num_cameras"]), np.cumsum(arrays["num_boxes"])
    samples = []
    for i, names in enumerate(cameras):
        of_cameras = slice(int(camera_ends[i]) - len(names), int(camera_ends[i]))
        of_boxes = slice(int(box_ends[i] - arrays["num_boxes"][i]), int(box_ends[i]))
        samples.append(
            PreparedSample(
                scene=scene,
                index=int(arrays["index"][i]),
                stamp_ns=int(arrays["stamp_ns"][i]),
                has_pose=bool(arrays["has_pose"][i]),
                T_world_base=arrays["T_world_base"][i],
                **{name: arrays[name][i] for name in _VELOCITIES},
                cameras=names,
                images=images[of_cameras],
                **{name: arrays[name][of_cameras] for name in _CAMERA_FIELDS},
                **{name: arrays[name][of_boxes] for name in _BOX_FIELDS},
            )
        )
    return samples


def _check(arrays: _Arrays, spec: InputSpec, num_classes: int, label: str) -> None:
    """Refuse arrays whose shapes, types or values do not fit together."""
    count, rows, boxes = len(arrays["index"]), len(arrays["image_from_base"]), len(arrays["yaws"])
    expected: dict[str, tuple[tuple[int, ...], type]] = {
        "index": ((count,), np.int64),
        "stamp_ns": ((count,), np.int64),
        "has_pose": ((count,), np.uint8),
        "T_world_base": ((count, 4, 4), np.float64),
        **dict.fromkeys(_VELOCITIES, ((count, 3), np.float64)),
        "num_cameras": ((count,), np.int64),
        "num_boxes": ((count,), np.int64),
        "image_from_base": ((rows, 4, 4), np.float32),
        "cell_depths": ((rows, *grid_shape(spec)), np.float16),
        "centers": ((boxes, 3), np.float32),
        "sizes": ((boxes, 3), np.float32),
        "yaws": ((boxes,), np.float32),
        "velocities": ((boxes, 2), np.float32),
        "labels": ((boxes,), np.int64),
        "visibility": ((boxes,), np.float32),
        "num_points": ((boxes,), np.int64),
    }
    for name, (shape, dtype) in expected.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != dtype:
            raise DatasetError(
                f"{label}: field '{name}' is {array.dtype}{array.shape}; expected {np.dtype(dtype)}{shape}"
            )
    for name, total in (("num_cameras", rows), ("num_boxes", boxes)):
        counts = arrays[name]
        if (counts < 0).any() or (counts > _MAX_BOX_ROWS).any() or int(counts.sum()) != total:
            raise DatasetError(f"{label}: field '{name}' does not add up to the {total} rows that are there")
    for name in ("T_world_base", "image_from_base", "centers", "sizes", "yaws"):
        if not np.isfinite(arrays[name]).all():
            raise DatasetError(f"{label}: field '{name}' holds values that are not finite")
    labels = arrays["labels"]
    if boxes and (labels.min() < 0 or labels.max() >= num_classes):
        raise DatasetError(
            f"{label}: labels {labels.min()} to {labels.max()}; expected 0 to {num_classes - 1}, as in pack.json"
        )


def _pictures(arrays: _Arrays, spec: InputSpec, label: str) -> UInt8Array:
    """Return all pictures, (rows, 3, H, W)."""
    shape = (len(arrays["image_from_base"]), 3, spec.height, spec.width)
    if "images" in arrays:
        images: UInt8Array = arrays["images"]
        if images.shape != shape or images.dtype != np.uint8:
            raise DatasetError(f"{label}: pictures {images.dtype}{images.shape}; expected uint8{shape}")
        return images
    stored, ends = arrays["webp"], arrays["webp_ends"]
    starts = np.concatenate([[0], ends[:-1]])
    if stored.dtype != np.uint8 or ends.shape != shape[:1] or (starts >= ends).any() or ends[-1] != stored.size:
        raise DatasetError(f"{label}: the places of the pictures do not fit the {stored.size} bytes that are there")
    if (decoded := int(np.prod(shape))) > MAX_DECODED_BYTES:
        raise DatasetError(
            f"{label}: pictures of {decoded / 1e9:.1f} GB; expected at most {MAX_DECODED_BYTES / 1e9:.1f}"
        )
    images = np.empty(shape, dtype=np.uint8)

    def decode(i: int) -> None:
        _from_webp(stored[starts[i] : ends[i]], images[i], f"{label}: picture {i}")

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(decode, range(len(images))))
    return images


def _to_webp(picture: UInt8Array, quality: int) -> UInt8Array:
    bgr = np.ascontiguousarray(picture[::-1].transpose(1, 2, 0))
    return np.asarray(cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, quality])[1]).reshape(-1)


def _from_webp(stream: UInt8Array, target: UInt8Array, label: str) -> None:
    """Decode into (3, H, W); the size is read before anything is decoded."""
    head = stream[:30].tobytes()
    size = (int.from_bytes(head[28:30], "little") & 0x3FFF, int.from_bytes(head[26:28], "little") & 0x3FFF)
    if head[8:16] != b"WEBPVP8 " or size != target.shape[1:]:
        raise DatasetError(f"{label}: not a WebP picture of {target.shape[2]}x{target.shape[1]} px; prepare it again")
    bgr = cv2.imdecode(np.ascontiguousarray(stream), cv2.IMREAD_COLOR)
    if bgr is None or bgr.shape[:2] != target.shape[1:]:
        raise DatasetError(f"{label}: the WebP stream is damaged; delete the file and prepare that scene again")
    target[...] = bgr.transpose(2, 0, 1)[::-1]

"""Brings clouds, the boxes of objects in them and the frames of both together for the point encoder.

The same code serves the node and replay. Without boxes each cloud is a set, encoded as a whole. With boxes each message
of boxes is a set: it waits until the clouds have reached its stamp, and gets the one that is nearest to it. Moving
transforms are waited for in the same way, up to a deadline. Boxes are cut out in their own frame, into which the points
are brought, so a sensor may be mounted at any angle.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.config import setting
from lift3d_ros.errors import TransformError
from lift3d_ros.geometry.packed_points import PackedCloud, unpack_points
from lift3d_ros.geometry.rigid import invert
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.pipelines.point_encoder import PointCloudFrame, PointEncoder, PreparedClouds
from lift3d_ros.sync.collector import StreamCollector, StreamSet
from lift3d_ros.sync.streams import StreamSpec
from lift3d_ros.types import Boxes3D, Float32Array, Float64Array, ModelIdentity, PointFeatures, PointFeatureSet

# After the deadline, a pose this much older than the cloud will do.
TRANSFORM_TOLERANCE_S = 0.1
TRANSFORM_HISTORY_S = 10.0

_CLOUD, _BOXES, _CLOUD_TIME, _TRANSFORM_TIME = "cloud", "boxes", "time of the clouds", "time of the transforms"


@dataclass(frozen=True)
class CloudSyncConfig:
    """Which boxes belong to which cloud, and what is waited for."""

    window_s: float = setting(
        0.1, "boxes belong to the nearest cloud within this time of them", unit="s", minimum=0.001, maximum=2.0
    )
    deadline_s: float = setting(
        0.3,
        "boxes wait this long for their cloud, and both for moving transforms; clouds wait for boxes as long as "
        "max_clouds lets them",
        unit="s",
        minimum=0.001,
        maximum=10.0,
    )
    max_clouds: int = setting(
        16, "clouds that are kept until their boxes come: more for a slow detector, each costs memory", minimum=1,
        maximum=200,
    )  # fmt: skip
    drop: bool = setting(
        True,
        "only the newest cloud waits for a busy encoder; false keeps up to 32, for paced runs; replay keeps all",
    )


@dataclass(frozen=True, eq=False)
class CloudBoxes:
    """The boxes of one message.

    Args:
        indices: (M,) place of each box in the message.
        count: boxes of the message, with those that cannot be used.
        problems: one sentence for each box that cannot be used, or not as it is.
    """

    stamp_ns: int
    boxes: Boxes3D
    indices: NDArray[np.int64]
    count: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class CloudSet:
    """A cloud with what belongs to it.

    Args:
        boxes: what is encoded; None for the cloud as a whole.
        T_encoding_cloud: (4, 4) from the frame of the cloud to that in which it is encoded: that of the boxes, without
            boxes that of the result.
        output_frame: of the result; `T_output_cloud` (4, 4) leads there from the frame of the cloud.
        problems: one sentence for each thing that is wrong with the set.
    """

    cloud: PackedCloud
    output_frame: str
    boxes: CloudBoxes | None = None
    T_encoding_cloud: Float64Array = field(default_factory=lambda: np.eye(4))
    T_output_cloud: Float64Array = field(default_factory=lambda: np.eye(4))
    problems: tuple[str, ...] = ()

    @property
    def stamp_ns(self) -> int:
        """Stamp of the cloud."""
        return self.cloud.stamp_ns


class CloudSets:
    """Makes sets of clouds; the owner fills the transform tree and says when it has."""

    def __init__(
        self, tree: TransformTree, config: CloudSyncConfig, *, has_boxes: bool = False, output_frame: str = ""
    ) -> None:
        """Look up frames in `tree`.

        Args:
            has_boxes: sets are made of boxes; without, of clouds.
            output_frame: of the results; empty takes that of each cloud.
        """
        required = _BOXES if has_boxes else _CLOUD
        specs = [StreamSpec(required), StreamSpec(_TRANSFORM_TIME, "covering")]
        if has_boxes:
            specs += [StreamSpec(_CLOUD, "optional"), StreamSpec(_CLOUD_TIME, "covering")]
        self.collector = StreamCollector(
            specs, window_s=config.window_s, deadline_s=config.deadline_s, max_held=config.max_clouds
        )
        self.boxes_without_cloud = 0
        self._tree, self._has_boxes, self._output_frame = tree, has_boxes, output_frame
        # The cloud of boxes is up to this much newer than they are, and its pose is that at its own stamp.
        self._lead_ns = round(config.window_s * 1e9) if has_boxes else 0
        self._cloud_ns, self._cloud_frame, self._boxes_frame = 0, "", ""
        self._last_ns: int | None = None  # stamp of the cloud of the last set
        self._seen_resets = 0

    @property
    def drops(self) -> Counter[str]:
        """How many clouds and boxes were not used, by reason."""
        return Counter[str](self.collector.drops) + Counter({"boxes without a cloud": self.boxes_without_cloud})

    def reset(self) -> None:
        """Forget what waits; counters stay."""
        self.collector.reset()
        self._last_ns = None

    def add_cloud(self, cloud: PackedCloud, now_ns: int) -> list[CloudSet]:
        """Take a cloud and return the sets that are complete now, oldest first."""
        self._cloud_ns, self._cloud_frame = cloud.stamp_ns, cloud.frame_id
        sets = self._cover_transforms(now_ns) + self.collector.add(_CLOUD, cloud, now_ns)
        if self._has_boxes:
            sets += self.collector.cover(_CLOUD_TIME, cloud.stamp_ns, now_ns)
        return self._assembled(sets)

    def add_boxes(self, boxes: CloudBoxes, now_ns: int) -> list[CloudSet]:
        """Take boxes and return the sets that are complete now, oldest first."""
        self._boxes_frame = boxes.boxes.frame_id or self._boxes_frame
        return self._assembled(self._cover_transforms(now_ns) + self.collector.add(_BOXES, boxes, now_ns))

    def transforms_added(self, now_ns: int) -> list[CloudSet]:
        """Return the sets for which the transforms that came were waited for."""
        return self._assembled(self._cover_transforms(now_ns))

    def expire(self, now_ns: int) -> list[CloudSet]:
        """Return the sets that have waited long enough at `now_ns`."""
        return self._assembled(self.collector.expire(now_ns))

    def flush(self) -> list[CloudSet]:
        """Return everything that waits, at the end of a recording."""
        return self._assembled(self.collector.flush())

    def _cover_transforms(self, now_ns: int) -> list[StreamSet]:
        """Report up to when the transforms are known that a set needs; nothing while one of them is not."""
        if self._has_boxes and not self._boxes_frame:
            return []
        targets = {self._output_frame, self._boxes_frame} - {""}
        known_ns = [self._tree.newest_common_stamp_ns(target, self._cloud_frame) for target in targets]
        stamps_ns = [stamp_ns - self._lead_ns for stamp_ns in known_ns if stamp_ns is not None]
        if len(stamps_ns) < len(targets):
            return []
        return self.collector.cover(_TRANSFORM_TIME, min([*stamps_ns, self._cloud_ns]), now_ns)

    def _assembled(self, sets: Sequence[StreamSet]) -> list[CloudSet]:
        items = [self._assemble(item) for item in sets]
        return [item for item in items if item is not None]

    def _assemble(self, item: StreamSet) -> CloudSet | None:
        cloud, boxes = item.items.get(_CLOUD), item.items.get(_BOXES)
        if self.collector.resets > self._seen_resets:
            self._seen_resets, self._last_ns = self.collector.resets, None
        # Boxes that come faster than clouds leave none but an older one for the next: results never go back in time.
        if not isinstance(cloud, PackedCloud) or (self._last_ns is not None and cloud.stamp_ns <= self._last_ns):
            self.boxes_without_cloud += 1
            return None
        self._last_ns = cloud.stamp_ns
        problems: list[str] = []
        result = self._in_output_frame(CloudSet(cloud, cloud.frame_id), problems)
        if isinstance(boxes, CloudBoxes):
            result = self._with_boxes(result, boxes, problems)
        return dataclasses.replace(result, problems=tuple(problems))

    def _in_output_frame(self, item: CloudSet, problems: list[str]) -> CloudSet:
        if not self._output_frame:
            return item
        try:
            T_output_cloud = self._tree.lookup(self._output_frame, item.cloud.frame_id, item.stamp_ns)
        except TransformError as error:
            problems.append(f"results stay in '{item.cloud.frame_id}': {error}")
            return item
        return CloudSet(item.cloud, self._output_frame, None, T_output_cloud, T_output_cloud)

    def _with_boxes(self, item: CloudSet, boxes: CloudBoxes, problems: list[str]) -> CloudSet:
        """Return the set with its boxes; with none where they cannot be placed, which is not the cloud as a whole."""
        problems += boxes.problems
        frame_id = boxes.boxes.frame_id
        try:
            if len(boxes.boxes):  # a message without boxes may have no frame
                T_boxes_cloud = self._tree.lookup(frame_id, item.cloud.frame_id, item.stamp_ns)
                return dataclasses.replace(item, boxes=boxes, T_encoding_cloud=T_boxes_cloud)
        except TransformError as error:
            problems.append(f"boxes are not used: {error}")
        nothing = Boxes3D.empty(item.output_frame, ())
        return dataclasses.replace(item, boxes=dataclasses.replace(boxes, boxes=nothing, indices=np.zeros(0, np.int64)))


@dataclass(frozen=True, eq=False)
class PreparedCloudSet:
    """A set that is ready for the network.

    Args:
        points: (N, 3) float32 in the frame of the cloud, metres; NaN where not measured.
        unpack_s: time of reading them.
    """

    item: CloudSet
    points: Float32Array
    clouds: PreparedClouds
    unpack_s: float = 0.0

    @property
    def output_points(self) -> Float32Array:
        """(N, 3) the points in the frame of the result."""
        return _moved(self.item.T_output_cloud, self.points)


class CloudSetEncoder:
    """A point encoder that takes sets, and gives features in the output frame with what was wrong with each set."""

    def __init__(self, encoder: PointEncoder) -> None:
        """Run `encoder`."""
        self._encoder = encoder

    @property
    def identity(self) -> ModelIdentity:
        """Which model and weights are running."""
        return self._encoder.identity

    @property
    def notice(self) -> str:
        """What the engine says of itself; empty while all is well."""
        return self._encoder.notice

    def warm_up(self) -> None:
        """Encode some points, so that what compiles itself when it is first used makes no cloud late."""
        corners = np.stack(np.meshgrid(*[np.linspace(-1.0, 1.0, 5)] * 3), axis=-1).reshape(-1, 3)
        self._encoder.infer(self._encoder.prepare(PointCloudFrame(corners.astype(np.float32))))

    def prepare(self, item: CloudSet) -> PreparedCloudSet:
        """Read the points and cut out what is encoded; stateless.

        Raises:
            CloudError: the cloud cannot be read.
        """
        start_s = time.perf_counter()
        points = unpack_points(item.cloud)
        unpack_s = time.perf_counter() - start_s
        boxes = item.boxes
        frame = PointCloudFrame(
            points=_moved(item.T_encoding_cloud, points),
            frame_id=item.output_frame if boxes is None else boxes.boxes.frame_id,
            stamp_ns=item.stamp_ns,
            boxes=None if boxes is None else boxes.boxes,
            ids=None if boxes is None else boxes.indices,
        )
        return PreparedCloudSet(item, points, self._encoder.prepare(frame), unpack_s)

    def infer(self, prepared: PreparedCloudSet) -> PointFeatureSet:
        """Encode."""
        item, result = prepared.item, self._encoder.infer(prepared.clouds)
        T_output_encoding = item.T_output_cloud @ invert(item.T_encoding_cloud)
        return dataclasses.replace(
            result,
            frame_id=item.output_frame,
            features=tuple(_moved_features(T_output_encoding, features) for features in result.features),
            timings_s={"unpack": prepared.unpack_s, **result.timings_s},
            problems=(*item.problems, *result.problems),
        )

    def reset(self) -> None:
        """Do nothing: no cloud depends on an earlier one."""


def _moved_features(T: Float64Array, features: PointFeatures) -> PointFeatures:
    return dataclasses.replace(features, token_centers=_moved(T, features.token_centers))


def _moved(T: Float64Array, points: Float32Array) -> Float32Array:
    """Return points in another frame; in float32 throughout, as clouds are large."""
    if np.array_equal(T, np.eye(4)):
        return points
    with np.errstate(invalid="ignore"):  # points that are not finite
        return np.asarray(points @ T[:3, :3].T.astype(np.float32) + T[:3, 3].astype(np.float32))

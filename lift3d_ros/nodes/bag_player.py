"""Plays a recording of any kind over DDS: in real time, at another rate, or paced by the results of a node.

Unlike `ros2 bag play` it reads ROS 1 bags too, publishes mountings and calibration before the first picture, and can
wait for each result, so that a slow machine loses nothing.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from tqdm import tqdm

from lift3d_ros.bags.cloud_messages import POINT_CLOUD
from lift3d_ros.bags.discover import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE
from lift3d_ros.bags.keypoint_messages import KEYPOINTS
from lift3d_ros.bags.reader import BagMessage, BagReader, open_bag, package_typestore
from lift3d_ros.errors import BagError, Lift3dError, nearest_name_hint
from lift3d_ros.msg import BevDetectionArray, PointFeaturesArray, Skeleton3DArray
from lift3d_ros.nodes.messages import time_msg
from lift3d_ros.nodes.run import own_arguments, start_ros

# Last part of a topic of results -> their type, and of what they are made.
_RESULTS: dict[str, tuple[type[Any], tuple[str, ...]]] = {
    "detections": (BevDetectionArray, (IMAGE, COMPRESSED_IMAGE)),
    "skeletons": (Skeleton3DArray, (KEYPOINTS,)),
    "features": (PointFeaturesArray, (POINT_CLOUD,)),
}
_FIRST_RESULT_S = 180.0
_SETTLE_S = 1.0


class BagPlayer(Node):
    """Publishes the messages of one recording."""

    def __init__(
        self,
        reader: BagReader,
        topics: Collection[str],
        wait_for: str,
        timeout_s: float,
        *,
        has_clock: bool,
        paced: Collection[str] = (),
    ) -> None:
        """Create a publisher for every topic whose type is installed.

        Args:
            topics: what is played.
            wait_for: topic of detections, skeletons or features; the next picture of a camera, keypoints or cloud are
                held back until the result of the last ones has come. Empty: do not wait.
            paced: topics that results are made of in place of these.
        """
        super().__init__("bag_player")
        self._store = package_typestore()
        self._is_ros1 = reader.is_ros1
        kind, sources = _RESULTS.get(wait_for.rsplit("/", 1)[-1], _RESULTS["detections"])
        wanted = [sources] if wait_for else [types for _, types in _RESULTS.values()]
        found = [{topic.name for topic in reader.topics_of(*types)} & set(topics) for types in wanted]
        self._paced = set(paced) or next(filter(None, found), set())
        self._outputs: dict[str, Publisher] = {}
        for topic in reader.topics:
            if topic.name not in topics:
                continue
            message_type = _message_type(topic.type)
            if message_type is None:
                self.get_logger().warning(f"topic '{topic.name}' is left out: {topic.type} is not installed")
                continue
            is_latched = topic.name.endswith("tf_static")
            durability = DurabilityPolicy.TRANSIENT_LOCAL if is_latched else DurabilityPolicy.VOLATILE
            profile = QoSProfile(depth=100, durability=durability)
            self._outputs[topic.name] = self.create_publisher(message_type, topic.name, profile)
        self._clock = self.create_publisher(Clock, "/clock", 10) if has_clock else None
        self._results, self._sets, self._pending = 0, 0, set[str]()
        self._timeout_s = timeout_s
        self._wait_for = wait_for
        if wait_for:
            self.create_subscription(kind, wait_for, self._count_result, 100, raw=True)

    def wait_for_subscribers(self, timeout_s: float) -> None:
        """Wait until somebody listens to every topic that results are made of.

        Raises:
            BagError: nobody does within the time; names the topics.
        """
        end_s = time.monotonic() + timeout_s
        while alone := [name for name in self._paced if not self._outputs[name].get_subscription_count()]:
            if time.monotonic() > end_s:
                raise BagError(
                    f"nobody subscribed to {', '.join(sorted(alone))} within {timeout_s:g} s; start the node first, "
                    "check its topics, or give --no-wait"
                )
            rclpy.spin_once(self, timeout_sec=0.05)
        # A subscriber that this side knows may not know this side yet, and would miss the first messages.
        end_s = time.monotonic() + _SETTLE_S
        while (left_s := end_s - time.monotonic()) > 0:
            rclpy.spin_once(self, timeout_sec=left_s)

    def play(self, message: BagMessage) -> None:
        """Publish one message, after the result that it has to wait for."""
        if message.topic not in self._outputs:
            return
        if self._wait_for and message.topic in self._paced:
            if message.topic in self._pending:
                self.wait_for_result()
            self._pending.add(message.topic)
        if self._clock is not None:
            self._clock.publish(Clock(clock=time_msg(message.log_ns)))
        self.send(message)

    def send(self, message: BagMessage) -> None:
        """Publish one message as it is."""
        if (output := self._outputs.get(message.topic)) is not None:
            raw = message.raw
            output.publish(bytes(self._store.ros1_to_cdr(raw, message.type)) if self._is_ros1 else raw)

    def wait_for_result(self) -> None:
        """Wait for the result of the pictures published since the last one."""
        self._pending.clear()
        self._sets += 1
        limit_s = self._timeout_s if self._results else _FIRST_RESULT_S
        end_s = time.monotonic() + limit_s
        while self._results < self._sets:
            if time.monotonic() > end_s:
                self.get_logger().warning(f"no result on {self._wait_for} within {limit_s:g} s; going on")
                self._sets = self._results
                return
            rclpy.spin_once(self, timeout_sec=0.05)

    def _count_result(self, _: bytes) -> None:
        self._results += 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    # An interrupt in the middle of a call of rclpy is then an exception of Python, and not an invalid context.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        args = _parser().parse_args(own_arguments() if arguments is None else list(arguments))
        start_ros()
        with open_bag(args.bag) as reader:
            _play(reader, args)
    except Lift3dError as error:
        print(f"bag_player: error: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, ExternalShutdownException):
        return 130
    finally:
        rclpy.try_shutdown()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bag_player", description=__doc__)
    parser.add_argument("bag", type=Path, help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag")
    parser.add_argument("--rate", type=float, default=1.0, help="speed; 0 is as fast as possible (default 1)")
    parser.add_argument("--loops", type=int, default=1, help="how often the recording is played (default 1)")
    parser.add_argument("--topics", nargs="+", metavar="TOPIC", help="play only these topics")
    parser.add_argument("--without", nargs="+", metavar="TOPIC", default=[], help="leave these topics out")
    parser.add_argument(
        "--wait-for", default="", metavar="TOPIC", help="pace by the detections, skeletons or features on this topic"
    )
    parser.add_argument(
        "--paced",
        nargs="+",
        metavar="TOPIC",
        default=[],
        help="topics that give one result each (default: by --wait-for)",
    )
    parser.add_argument("--timeout", type=float, default=30.0, help="longest wait for one result, s (default 30)")
    parser.add_argument("--clock", action="store_true", help="publish the log time on /clock")
    parser.add_argument("--no-wait", action="store_true", help="start although nobody listens")
    return parser


def _play(reader: BagReader, args: argparse.Namespace) -> None:
    known = {topic.name for topic in reader.topics}
    if absent := [name for name in args.topics or () if name not in known]:
        raise BagError(f"{reader.path}: topic '{absent[0]}' is not in it{nearest_name_hint(absent[0], known)}")
    topics = args.topics or [topic.name for topic in reader.topics if topic.name not in args.without]
    if absent := [name for name in args.paced if name not in topics]:
        raise BagError(
            f"{reader.path}: --paced {absent[0]}: is not played{nearest_name_hint(absent[0], topics)}; expected topics "
            "of the recording"
        )
    player = BagPlayer(reader, topics, args.wait_for, args.timeout, has_clock=args.clock, paced=args.paced)
    if not args.no_wait:
        player.wait_for_subscribers(30.0)
    for message in _ahead_of_pictures(reader, topics):
        player.send(message)
    total = sum(topic.count for topic in reader.topics if topic.name in topics)
    for _ in range(args.loops):
        start_s = time.monotonic()
        for message in tqdm(reader.messages(topics), total=total, desc="playing", unit="msg", disable=None):
            if args.rate > 0:
                due_s = start_s + (message.log_ns - reader.start_ns) * 1e-9 / args.rate
                while (left_s := due_s - time.monotonic()) > 0:
                    rclpy.spin_once(player, timeout_sec=min(left_s, 0.05))
            player.play(message)
    if args.wait_for:
        player.wait_for_result()
    else:
        # The middleware sends in the background: what was published last must not be cut off. This takes seconds,
        # since acknowledgements come with heartbeats; a result tells the same at once.
        for output in player.publishers:
            output.wait_for_all_acked()
    player.destroy_node()


def _ahead_of_pictures(reader: BagReader, topics: Collection[str]) -> Iterator[BagMessage]:
    """Yield mountings and first calibrations, as replay takes them: they may be recorded after the first pictures."""
    static = [name for name in topics if name.endswith("tf_static")]
    infos = [topic.name for topic in reader.topics_of(CAMERA_INFO) if topic.name in topics]
    yield from reader.messages(static) if static else ()
    yield from reader.first_messages(infos).values()


def _message_type(name: str) -> Any:
    """Return the message class of ``package/msg/Name``, None where the package is not installed."""
    package, _, kind = name.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), kind, None)
    except ImportError:
        return None

"""Runs nodes and other executables of the package on a ROS domain of their own: starts, awaits, samples, ends them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from demo import EXECUTABLES
from lift3d_ros.bench.process_cost import ProcessCost
from lift3d_ros.errors import Lift3dError
from lift3d_ros.launching import NodeWiring, node_environment

READY = r" on (onnxruntime|torch|tensorrt\w*);"
READY_S = 300.0
_SAMPLE_S = 0.5
_OWN_DOMAIN = "101"  # the tests take 1 to 100


def use_own_domain() -> None:
    """Keep this process and those that it starts away from other ROS systems, and give them the variables of nodes.

    SIGTERM becomes an interrupt, so that what was started ends, too.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ.setdefault("ROS_DOMAIN_ID", _OWN_DOMAIN)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.update(node_environment())


def node_command(name: str, file: Path, wired: NodeWiring) -> list[str]:
    """Return the command line that the launch file makes of a node."""
    command = [str(EXECUTABLES / name), "--ros-args", "-r", f"__node:={name}", "--params-file", str(file)]
    for source, target in wired.remappings:
        command += ["-r", f"{source}:={target}"]
    for parameter, value in wired.parameters.items():
        command += ["-p", f"{parameter}:={value}"]
    return command


@dataclass
class Running:
    """A process and the file that receives its output."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_for(self, pattern: str, timeout_s: float) -> None:
        """Wait for a line of the log."""
        end_s = time.monotonic() + timeout_s
        while not re.search(pattern, self.log.read_text(errors="replace")):
            if self.process.poll() is not None or time.monotonic() > end_s:
                raise Lift3dError(f"{self.log.stem} does not get ready; its output is in {self.log}")
            time.sleep(0.1)


@contextlib.contextmanager
def running(commands: Mapping[str, list[str]], out: Path) -> Iterator[dict[str, Running]]:
    """Run the commands until the block ends; they are interrupted, and what does not end is killed."""
    environment = {**os.environ, "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}"}
    started: dict[str, Running] = {}
    try:
        for name, command in commands.items():
            log = out / f"{name}.log"
            with log.open("wb") as output:
                process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
            started[name] = Running(process, log)
        yield started
    finally:
        for one in started.values():
            one.process.send_signal(signal.SIGINT)
        for one in started.values():
            try:
                one.process.wait(30.0)
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()


def watch(is_done: Callable[[], bool], nodes: Mapping[str, Running], costs: Mapping[str, ProcessCost]) -> None:
    """Sample the processes until something is true.

    Raises:
        Lift3dError: a node ended.
    """
    while not is_done():
        for cost in costs.values():
            cost.sample()
        for name, node in nodes.items():
            if node.process.poll() is not None:
                raise Lift3dError(f"{name} ended with status {node.process.returncode}; its output is in {node.log}")
        time.sleep(_SAMPLE_S)

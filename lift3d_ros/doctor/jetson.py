"""Checks what decides speed and memory on a Jetson: release, power mode, clocks, swap, libraries, room for models."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lift3d_ros.bench.all_models import models_with_weights
from lift3d_ros.bench.jetson_facts import (
    fastest_power_mode,
    find_library,
    has_desktop,
    is_fastest_mode,
    read_board,
    read_clocks,
    read_jetpack_package,
    read_l4t_release,
    read_memory,
    read_power_mode,
    read_power_modes,
    read_swaps,
)
from lift3d_ros.bench.model_run import Start, ask_model_run
from lift3d_ros.doctor.machine import check_machine
from lift3d_ros.doctor.report import Check, Report, Section, bytes_text, fail, ok, warn
from lift3d_ros.errors import Lift3dError
from lift3d_ros.pipelines.bev_engine import EngineConfig, choose_backend

_KNOWN_L4T = 36
_SMALL_BOARD_BYTES = 9e9
_OLDEST_TENSORRT = (10, 3)
# CUDA and TensorRT keep hundreds of megabytes beside a model, and the system must go on.
_RESERVE_BYTES = 500e6
_LIBRARIES = (
    ("GPU driver", "libcuda.so", "the driver comes with Jetson Linux; in a container: docker run --runtime nvidia"),
    ("CUDA", "libcudart.so", "sudo apt install nvidia-jetpack; in a container: use an l4t-jetpack image"),
    ("cuDNN", "libcudnn.so", "sudo apt install nvidia-jetpack; in a container: use an l4t-jetpack image"),
    ("TensorRT", "libnvinfer.so", "sudo apt install nvidia-jetpack; in a container: use an l4t-jetpack image"),
)

MeasureStart = Callable[[str], Start]


def check_jetson(env: Mapping[str, str]) -> Report:
    """Return the report about this machine with the sections for a Jetson first; takes some seconds for each model."""
    root = Path("/")
    sections = (check_system(root), check_libraries(root), check_model_memory(root, measure_start))
    return Report("this machine, as a Jetson", (*sections, *check_machine(env).sections))


def check_system(root: Path) -> Section:
    """Look at release, power mode, clocks, swap and desktop; says so where this is no Jetson."""
    board = read_board(root)
    if not board:
        checks = [ok("board", f"not a Jetson ({platform.machine()}): power modes and clocks are not looked at")]
    else:
        checks = [ok("board", board), _check_release(root), *_check_power(root), *_check_clocks(root)]
    checks += [*_check_memory(root, is_jetson=bool(board)), _check_swap(root, is_jetson=bool(board))]
    return Section("Jetson", tuple(checks))


def check_libraries(root: Path) -> Section:
    """Look for the libraries of NVIDIA; elsewhere than on a Jetson nothing is missed."""
    is_jetson = bool(read_board(root))
    checks = []
    for name, stem, remedy in _LIBRARIES:
        found = find_library(root, stem)
        if found is not None:
            checks.append(_check_version(name, found[0], found[1]))
        elif is_jetson:
            checks.append(warn(name, f"{stem} was not found; the CPU is used meanwhile", remedy))
        else:
            checks.append(ok(name, f"{stem} was not found in the system; not needed on a CPU"))
    return Section("libraries of NVIDIA", tuple(checks))


def check_model_memory(root: Path, measure: MeasureStart, models: Sequence[str] | None = None) -> Section:
    """Compare what each model takes with what is free.

    Args:
        measure: model -> its start in a process of its own.
        models: names; None takes all that have weights.
    """
    _, free = read_memory(root)
    checks: list[Check] = []
    total = 0
    try:
        names = models_with_weights() if models is None else tuple(models)
    except Lift3dError as error:
        return Section("memory of the models", (fail("manifest", str(error), "install the package again"),))
    for name in names:
        try:
            start = measure(name)
        except Lift3dError as error:
            remedy = "mend that; without torch, export its graph elsewhere ('lift3d export') and give the file as model"
            checks.append(warn(name, f"could not be opened: {error}", remedy))
            continue
        if start.peak_bytes is None or start.resident_bytes is None:
            checks.append(ok(name, "this system does not tell the memory of a process"))
            continue
        total += start.resident_bytes
        checks.append(_check_model(name, start.peak_bytes, start.resident_bytes, free))
    if len(checks) > 1 and total:
        checks.append(_check_total(total, free))
    return Section("memory of the models", tuple(checks))


def measure_start(model: str) -> Start:
    """Start a model in a process of its own, with the backend that `auto` takes.

    Raises:
        Lift3dError: it cannot be opened.
    """
    engine = EngineConfig("auto")
    start = ask_model_run(model, engine, 0.0, ()).start
    # The graph was not in the cache, and torch exported it first.
    is_exported_now = start.imports_torch and choose_backend("auto") != "torch"
    return ask_model_run(model, engine, 0.0, ()).start if is_exported_now else start


def _check_release(root: Path) -> Check:
    release, package = read_l4t_release(root), read_jetpack_package(root)
    installed = f", nvidia-jetpack {package}" if package else ", package nvidia-jetpack not installed"
    if release is None:
        remedy = "mount it into the container: -v /etc/nv_tegra_release:/etc/nv_tegra_release:ro"
        return warn("Jetson Linux", "/etc/nv_tegra_release was not found, so the release is not known", remedy)
    major, revision = release
    text = f"R{major}.{revision}{installed}"
    if major < _KNOWN_L4T:
        python = ".".join(map(str, sys.version_info[:2]))
        remedy = "flash JetPack 6 (Jetson Linux R36): its Ubuntu 22.04 brings Python 3.10 and ROS 2 Humble"
        return warn("Jetson Linux", f"{text}; expected R36 (JetPack 6); this Python is {python}", remedy)
    if major > _KNOWN_L4T:
        remedy = "read docs/jetson.md and run 'lift3d bench all' before relying on it"
        return warn("Jetson Linux", f"{text}; expected R36 (JetPack 6), newer ones were not looked at", remedy)
    return ok("Jetson Linux", f"{text}; expected R36 (JetPack 6)")


def _check_power(root: Path) -> list[Check]:
    power, modes, fastest = read_power_mode(root), read_power_modes(root), fastest_power_mode(root)
    if power.source != "nvpmodel" or fastest is None:
        remedy = "mount /var/lib/nvpmodel/status and /etc/nvpmodel.conf into the container, or run it on the host"
        return [warn("power mode", "nvpmodel does not tell its mode here", remedy)]
    known = ", ".join(f"{name} ({number})" for number, name in modes.items())
    if is_fastest_mode(root):
        return [ok("power mode", f"{power.mode}, the fastest of {known}")]
    text = f"{power.mode}; the fastest of {known} is {modes[fastest]} ({fastest})"
    remedy = f"sudo nvpmodel -m {fastest}, where power supply and cooling allow it; figures hold for one mode only"
    return [warn("power mode", text, remedy)]


def _check_clocks(root: Path) -> list[Check]:
    clocks = read_clocks(root)
    if not clocks:
        return [warn("clocks", "no clock can be read here", "run it on the host, or mount /sys into the container")]
    text = ", ".join(f"{c.name} {c.lowest_hz / 1e6:.0f} to {c.highest_hz / 1e6:.0f} MHz" for c in clocks)
    if all(c.is_fixed for c in clocks):
        return [ok("clocks", f"{text}: fixed")]
    remedy = (
        "sudo jetson_clocks, after nvpmodel and at each start, for steady latency; sudo jetson_clocks --restore ends it"
    )
    return [warn("clocks", f"{text}: they follow the load", remedy)]


def _check_memory(root: Path, *, is_jetson: bool) -> list[Check]:
    total, free = read_memory(root)
    checks = [ok("memory", f"{bytes_text(total)}, {bytes_text(free)} free" + (", shared by CPU and GPU" * is_jetson))]
    if is_jetson and has_desktop(root) and total < _SMALL_BOARD_BYTES:
        remedy = "sudo systemctl set-default multi-user.target, then restart; set-default graphical.target ends it"
        checks.append(warn("desktop", "starts with the machine and takes memory from the models", remedy))
    return checks


def _check_swap(root: Path, *, is_jetson: bool) -> Check:
    swaps = read_swaps(root)
    if not swaps:
        text = "none"
        if not is_jetson:
            return ok("swap", text)
        remedy = "make a swap file of 8 GB on the NVMe disk while engines are built, see docs/jetson.md"
        return warn("swap", f"{text}: building an engine may run out of memory", remedy)
    kinds = [f"{'zram' if swap.is_zram else swap.name} {bytes_text(swap.size)}" for swap in swaps]
    used, size = sum(swap.used for swap in swaps), sum(swap.size for swap in swaps)
    text = f"{', '.join(kinds)}, {bytes_text(used)} used"
    if used > size / 2:
        return warn("swap", f"{text}: memory is short, and latency suffers", "stop other programs, or run fewer models")
    if is_jetson and all(swap.is_zram for swap in swaps):
        return ok("swap", f"{text}; zram lies in memory itself: add a swap file while an engine is built")
    return ok("swap", text)


def _check_version(name: str, path: Path, version: str) -> Check:
    text = f"{version or 'version unknown'}, {path}"
    numbers = tuple(int(part) for part in version.split(".") if part)[:2]
    if name == "TensorRT" and numbers and numbers < _OLDEST_TENSORRT[: len(numbers)]:
        return warn(
            name, f"{text}; expected 10.3 or newer", "install JetPack 6.1 or newer; ONNX Runtime works meanwhile"
        )
    return ok(name, text)


def _check_model(name: str, peak: int, resident: int, free: int) -> Check:
    text = f"{bytes_text(peak)} at its peak, {bytes_text(resident)} while it runs; {bytes_text(free)} are free"
    if peak > free:
        return fail(name, text, "stop other programs, or run it on a board with more memory")
    if peak > free - _RESERVE_BYTES:
        return warn(name, f"{text}: little is left for others", "stop other programs, the desktop first")
    return ok(name, text)


def _check_total(total: int, free: int) -> Check:
    text = f"{bytes_text(total)} in processes of their own; {bytes_text(free)} are free"
    if total > free - _RESERVE_BYTES:
        return warn("all of them", text, "run fewer at a time")
    return ok("all of them", text)

"""Reads what a Jetson tells about itself from files, without root rights and without tools; judges nothing.

Every function takes the root folder, which tests replace. On other machines the facts are simply absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_LIBRARY_FOLDERS = (
    "usr/lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu/nvidia", "usr/lib/aarch64-linux-gnu/tegra",
    "usr/lib/x86_64-linux-gnu", "usr/local/cuda/lib64", "usr/local/cuda/targets/aarch64-linux/lib",
)  # fmt: skip
_GPU_FOLDERS = ("17000000.gpu", "17000000.ga10b", "17000000.gv11b")


@dataclass(frozen=True)
class PowerMode:
    """What decides the clocks: the mode of `nvpmodel` on a Jetson, elsewhere the governor of the first CPU."""

    source: Literal["nvpmodel", "cpu governor", "unknown"]
    mode: str

    def text(self) -> str:
        """Return one phrase for tables."""
        return "power mode unknown" if self.source == "unknown" else f"{self.source} {self.mode}"


@dataclass(frozen=True)
class Clocks:
    """Lowest and highest frequency that a clock may take now, hertz."""

    name: str
    lowest_hz: int
    highest_hz: int

    @property
    def is_fixed(self) -> bool:
        """Whether the clock cannot change, as after `jetson_clocks`."""
        return self.lowest_hz == self.highest_hz


@dataclass(frozen=True)
class Swap:
    """One entry of /proc/swaps, bytes."""

    name: str
    size: int
    used: int

    @property
    def is_zram(self) -> bool:
        """Whether it is compressed memory, not a disk."""
        return Path(self.name).name.startswith("zram")


def read_board(root: Path) -> str:
    """Return the name of the board, empty where this is no Jetson."""
    compatible = _text(root / "proc/device-tree/compatible")
    if "nvidia,tegra" not in compatible and not (root / "etc/nv_tegra_release").is_file():
        return ""
    return _text(root / "proc/device-tree/model") or "a Jetson of unknown kind"


def read_l4t_release(root: Path) -> tuple[int, str] | None:
    """Return major release and revision of Jetson Linux, as (36, "4.3"); None where no file tells."""
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", _text(root / "etc/nv_tegra_release"))
    return (int(found[1]), found[2]) if found else None


def read_jetpack_package(root: Path) -> str:
    """Return the version of the installed package `nvidia-jetpack`, empty without it."""
    found = re.search(
        r"^Package: nvidia-jetpack\n(?:.+\n)*?Version: (\S+)", _text(root / "var/lib/dpkg/status"), re.MULTILINE
    )
    return found[1] if found else ""


def read_power_mode(root: Path) -> PowerMode:
    """Return the present mode."""
    if (number := _mode_number(root)) is not None:
        return PowerMode("nvpmodel", f"{read_power_modes(root).get(number, 'of unknown name')} ({number})")
    if governor := _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"):
        return PowerMode("cpu governor", governor)
    return PowerMode("unknown", "")


def read_power_modes(root: Path) -> dict[int, str]:
    """Return the modes that the board has, number -> name."""
    modes = re.findall(r"^<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", _text(root / "etc/nvpmodel.conf"), re.MULTILINE)
    return {int(number): name for number, name in modes}


def fastest_power_mode(root: Path) -> int | None:
    """Return the number of the mode with the highest limit: MAXN_SUPER or MAXN, else the one with the most watts."""

    def rank(item: tuple[int, str]) -> tuple[bool, bool, int]:
        name = item[1].upper()
        watts = re.search(r"(\d+)W", name)
        return "SUPER" in name and "MAXN" in name, "MAXN" in name, int(watts[1]) if watts else 0

    modes = read_power_modes(root)
    return max(modes.items(), key=rank)[0] if modes else None


def is_fastest_mode(root: Path) -> bool:
    """Whether the present mode is the fastest one of the board."""
    return _mode_number(root) == fastest_power_mode(root)


def read_clocks(root: Path) -> list[Clocks]:
    """Return the clocks of the CPU clusters and of the GPU."""
    policies = sorted((root / "sys/devices/system/cpu/cpufreq").glob("policy*"))
    gpus = [root / "sys/class/devfreq" / name for name in _GPU_FOLDERS]
    found = [
        *(_clocks(f"CPU {path.name}", path / "scaling_min_freq", path / "scaling_max_freq", 1000) for path in policies),
        *(_clocks("GPU", path / "min_freq", path / "max_freq", 1) for path in gpus),
    ]
    return [clocks for clocks in found if clocks is not None]


def read_swaps(root: Path) -> list[Swap]:
    """Return the swap files, partitions and zram devices in use."""
    swaps = []
    for line in _text(root / "proc/swaps").splitlines()[1:]:
        words = line.split()
        if len(words) >= 4 and words[2].isdigit() and words[3].isdigit():
            swaps.append(Swap(words[0], int(words[2]) * 1024, int(words[3]) * 1024))
    return swaps


def read_memory(root: Path) -> tuple[int, int]:
    """Return memory in all and what a new process may take, bytes; 0 where not known."""
    entries = dict(re.findall(r"^(\w+):\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE))
    return int(entries.get("MemTotal", 0)) * 1024, int(entries.get("MemAvailable", 0)) * 1024


def has_desktop(root: Path) -> bool:
    """Whether the machine starts into a desktop."""
    for link in ("etc/systemd/system/default.target", "lib/systemd/system/default.target"):
        path = root / link
        if path.is_symlink():
            return path.readlink().name == "graphical.target"
    return False


def find_library(root: Path, stem: str) -> tuple[Path, str] | None:
    """Return a shared library and its version, with the longest version that a file name tells.

    Args:
        stem: for example ``libnvinfer.so``.
    """
    found = list(_libraries(root, stem))
    return max(found, key=lambda item: (len(item[1]), str(item[0]))) if found else None


def _libraries(root: Path, stem: str) -> Iterator[tuple[Path, str]]:
    for folder in (*_LIBRARY_FOLDERS, *(str(path.relative_to(root)) for path in _cuda_folders(root))):
        for path in (root / folder).glob(f"{stem}*"):
            version = path.name.removeprefix(stem).strip(".")
            if not version or re.fullmatch(r"[\d.]+", version):
                yield path, version


def _cuda_folders(root: Path) -> Iterator[Path]:
    for path in sorted((root / "usr/local").glob("cuda-*")):
        yield path / "lib64"


def _mode_number(root: Path) -> int | None:
    found = re.search(r"pmode:(\d+)", _text(root / "var/lib/nvpmodel/status"))
    return int(found[1]) if found else None


def _clocks(name: str, lowest: Path, highest: Path, unit_hz: int) -> Clocks | None:
    low, high = _text(lowest), _text(highest)
    return Clocks(name, int(low) * unit_hz, int(high) * unit_hz) if low.isdigit() and high.isdigit() else None


def _text(path: Path) -> str:
    """Return a small file without the zeros of the device tree, empty where it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8", "replace").replace("\0", " ").strip()
    except OSError:
        return ""

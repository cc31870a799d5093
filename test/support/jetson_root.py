"""Builds the files by which a Jetson Orin Nano tells its state, below a folder."""

from __future__ import annotations

from pathlib import Path

NVPMODEL = """\
< PARAM TYPE=FILE NAME=CPU_ONLINE >
CORE_0 /sys/devices/system/cpu/cpu0/online

< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1

< POWER_MODEL ID=1 NAME=25W >
CPU_ONLINE CORE_0 1

< POWER_MODEL ID=2 NAME=MAXN_SUPER >
CPU_ONLINE CORE_0 1

< POWER_MODEL ID=3 NAME=7W >
CPU_ONLINE CORE_0 1

< PM_CONFIG DEFAULT=1 >
"""
RELEASE = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 2025\n"
PACKAGES = (
    "Package: nvidia-jetson-none\nVersion: 1\n\nPackage: nvidia-jetpack\nStatus: install ok installed\n"
    "Architecture: arm64\nVersion: 6.2+b77\n\n"
)
SWAPS = "Filename\t\tType\t\tSize\t\tUsed\t\tPriority\n"


class JetsonRoot:
    """A fake root folder; every setting can be written again."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self.write(
            "proc/device-tree/compatible", "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0"
        )
        self.write("proc/device-tree/model", "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0")
        self.write("etc/nv_tegra_release", RELEASE)
        self.write("etc/nvpmodel.conf", NVPMODEL)
        self.write("var/lib/dpkg/status", PACKAGES)
        self.mode(2)
        self.clocks(fixed=True)
        self.memory(total_kb=7_800_000, free_kb=6_000_000)
        self.swaps("/dev/zram0 partition 649000 0 5")
        for name in (
            "libcuda.so.1",
            "libcudart.so.12.6.68",
            "libcudnn.so.9.3.0",
            "libnvinfer.so.10.3.0",
            "libnvinfer.so.10",
        ):
            self.write(f"usr/lib/aarch64-linux-gnu/{name}", "")

    def write(self, relative: str, text: str) -> None:
        path = self.path / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def remove(self, relative: str) -> None:
        (self.path / relative).unlink()

    def mode(self, number: int) -> None:
        self.write("var/lib/nvpmodel/status", f"pmode:{number:04d}\n")

    def clocks(self, *, fixed: bool) -> None:
        self.write("sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq", "1728000\n" if fixed else "115200\n")
        self.write("sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", "1728000\n")
        self.write("sys/class/devfreq/17000000.gpu/min_freq", "1020000000\n" if fixed else "306000000\n")
        self.write("sys/class/devfreq/17000000.gpu/max_freq", "1020000000\n")

    def memory(self, *, total_kb: int, free_kb: int) -> None:
        self.write("proc/meminfo", f"MemTotal:       {total_kb} kB\nMemFree:   1 kB\nMemAvailable:   {free_kb} kB\n")

    def swaps(self, *lines: str) -> None:
        self.write("proc/swaps", SWAPS + "".join(f"{line}\n" for line in lines))

    def desktop(self) -> None:
        link = self.path / "lib/systemd/system/default.target"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to("graphical.target")

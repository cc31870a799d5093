"""Checks the machine, the interpreter and how ROS 2 is set up."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

import lift3d_ros
from lift3d_ros.doctor.probes import Probe
from lift3d_ros.doctor.report import Check, Section, bytes_text, fail, ok, warn

_OLDEST_PYTHON = (3, 10)
_MARKER = "_ROS_WHEELS_BOOTSTRAP_COMPLETE"
_LONGEST_ERROR = 300
_OPTIONAL_MODULES = ("vision_msgs.msg",)
_RANGES = ("SUBNET", "LOCALHOST", "SYSTEM_DEFAULT", "OFF")
# Above, ports collide with those that Linux gives to outgoing connections.
_LAST_SAFE_DOMAIN, _LAST_DOMAIN = 101, 232


def check_environment(env: Mapping[str, str], ros: Probe) -> Section:
    """Look at system, Python and ROS.

    Args:
        env: environment variables.
        ros: result of the probe 'rclpy'.
    """
    checks = [*_check_machine(), *_check_python(), _check_distribution(env, ros)]
    checks += _check_modules(env, ros)
    checks += [_check_rmw(env, ros), _check_domain(env), _check_range(env)]
    return Section("environment", tuple(checks))


def _check_machine() -> list[Check]:
    return [
        ok("system", f"{_os_name()}, {platform.system()} {platform.release()}, {platform.machine()}"),
        ok("processor", f"{_cpu_name()}, {os.cpu_count()} logical cores, {_memory()}"),
    ]


def _check_python() -> list[Check]:
    version = f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    if sys.version_info[:2] < _OLDEST_PYTHON:
        python = fail("Python", version, "use Python 3.10 or newer")
    else:
        python = ok("Python", version)
    is_virtual = sys.prefix != sys.base_prefix
    where = Path(lift3d_ros.__file__).parent
    return [
        python,
        ok("virtual environment", sys.prefix if is_virtual else "none"),
        ok("lift3d_ros", f"{lift3d_ros.__version__}, {where}"),
    ]


def _check_distribution(env: Mapping[str, str], ros: Probe) -> Check:
    distribution = env.get("ROS_DISTRO", "")
    if distribution and not ros.is_installed:
        return fail(
            "ROS_DISTRO",
            f"'{distribution}' is sourced, but this Python {platform.python_version()} does not find its rclpy",
            "use the Python of the distribution (a virtual environment: python3 -m venv --system-site-packages), and "
            "source its setup file in this shell",
        )
    if distribution:
        return ok("ROS_DISTRO", distribution)
    return ok("ROS_DISTRO", "not set" + ("; rclpy comes from Python packages" if ros.is_installed else ""))


def _check_modules(env: Mapping[str, str], ros: Probe) -> list[Check]:
    if not ros.is_installed:
        text = "not installed: replay, detect, bag and export work; nodes and 'doctor --topics' need ROS 2"
        return [ok("rclpy", text)]
    errors: Mapping[str, str] = ros.values.get("errors", {"rclpy": ros.error})
    if errors.get("rclpy"):
        return [_broken_rclpy(env, errors["rclpy"])]
    checks = [ok("rclpy", "can be imported")]
    missing = [name for name, error in errors.items() if error and name not in (*_OPTIONAL_MODULES, "rmw")]
    if "lift3d_ros.msg" in missing:
        missing.remove("lift3d_ros.msg")
        checks.append(
            fail(
                "interfaces",
                f"lift3d_ros.msg cannot be imported from {Path(lift3d_ros.__file__).parent}",
                "build the package ('colcon build' or 'make setup'), source the workspace, and run the installed "
                "command: in the source folder the Python files without the interfaces are found first",
            )
        )
    else:
        checks.append(ok("interfaces", "lift3d_ros.msg can be imported"))
    if missing:
        packages = sorted(name.partition(".")[0] for name in missing)
        names = " ".join(f"ros-$ROS_DISTRO-{name.replace('_', '-')}" for name in packages)
        checks.append(fail("ROS packages", f"cannot be imported: {', '.join(packages)}", f"apt install {names}"))
    else:
        checks.append(ok("ROS packages", "all that the nodes need can be imported"))
    return checks


def _broken_rclpy(env: Mapping[str, str], error: str) -> Check:
    text = f"installed, but cannot be imported: {error[:_LONGEST_ERROR]}"
    if env.get("RMW_IMPLEMENTATION") and "RMW implementation" in error:
        # rclpy ends the process then, so this is all that can be known.
        return fail("rclpy", text, f"install {env['RMW_IMPLEMENTATION']}, or unset RMW_IMPLEMENTATION")
    if env.get(_MARKER) and ".so" in error:
        return fail(
            "rclpy",
            f"{text}; {_MARKER} is set, so the ROS wheels do not set LD_LIBRARY_PATH again",
            f"start without the marker: env -u {_MARKER} lift3d doctor; it is inherited from a process of another "
            "virtual environment, or LD_LIBRARY_PATH was removed (sudo does that)",
        )
    return fail(
        "rclpy",
        text,
        "source the setup file of the distribution whose Python this is; do not mix wheels and /opt/ros in one shell",
    )


def _check_rmw(env: Mapping[str, str], ros: Probe) -> Check:
    wanted, found = env.get("RMW_IMPLEMENTATION", ""), str(ros.values.get("rmw", ""))
    if error := ros.values.get("errors", {}).get("rmw"):
        return fail(
            "RMW_IMPLEMENTATION", f"'{wanted}': {error}", "install that middleware, or unset RMW_IMPLEMENTATION"
        )
    if wanted and found and wanted != found:
        remedy = "install that middleware, or unset RMW_IMPLEMENTATION"
        return fail("RMW_IMPLEMENTATION", f"'{wanted}' is asked for, {found} is loaded", remedy)
    return ok("RMW_IMPLEMENTATION", wanted or (f"not set, {found} is used" if found else "not set"))


def _check_domain(env: Mapping[str, str]) -> Check:
    text = env.get("ROS_DOMAIN_ID", "")
    if not text:
        return ok("ROS_DOMAIN_ID", "not set, 0 is used")
    remedy = f"set it to a whole number from 0 to {_LAST_SAFE_DOMAIN}, the same on every machine of the robot"
    if not text.isascii() or not text.isdigit() or int(text) > _LAST_DOMAIN:
        return fail("ROS_DOMAIN_ID", f"'{text}' is not a domain", remedy)
    if int(text) > _LAST_SAFE_DOMAIN:
        return warn("ROS_DOMAIN_ID", f"{text}: its ports may be taken by outgoing connections on Linux", remedy)
    return ok("ROS_DOMAIN_ID", text)


def _check_range(env: Mapping[str, str]) -> Check:
    name = "discovery range"
    value = env.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    remedy = f"set ROS_AUTOMATIC_DISCOVERY_RANGE to {', '.join(_RANGES[:2])}, or unset it"
    if value and value.upper() not in _RANGES:
        return fail(name, f"ROS_AUTOMATIC_DISCOVERY_RANGE is '{value}', which is not known", remedy)
    if value.upper() == "OFF":
        return warn(name, "ROS_AUTOMATIC_DISCOVERY_RANGE is OFF: not even nodes of this machine see each other", remedy)
    if env.get("ROS_LOCALHOST_ONLY", "0") not in ("", "0"):
        return ok(name, "ROS_LOCALHOST_ONLY is set: nodes of other machines are not seen")
    return ok(name, value or "not set, the local network is searched")


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform()


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model"):
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> str:
    try:
        return f"{bytes_text(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))} memory"
    except (OSError, ValueError):
        return "unknown memory"

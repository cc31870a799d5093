#!/bin/sh
# Makes .venv with everything that the package, its tests and the demo need; run it through 'make setup'.
# With the argument "engines" it also fetches the backends that only their tests need.
# Safe to run again: what is there and unchanged is left alone. With CPython 3.11 it also installs the ROS 2
# wheels and builds the interfaces; with another version, or with WITHOUT_ROS=1, it sets up everything else.
set -eu
cd "$(dirname "$0")/.."

VENV=$PWD/.venv
SYSTEM_PACKAGES="cmake g++ make python3-dev python3-venv libegl1 libgl1 libgl1-mesa-dri"
BROWSER_PACKAGES="chromium chromium-driver"

say() { printf '%s\n' "bootstrap: $*"; }

missing_packages() {
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || printf '%s ' "$package"
    done
}

install_packages() {
    command -v dpkg-query >/dev/null || return 0
    required=$(missing_packages $SYSTEM_PACKAGES)
    browser=$(missing_packages $BROWSER_PACKAGES)
    [ -n "$required$browser" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        [ -z "$required" ] || say "not root, so these are left to you: apt-get install $required"
        [ -z "$browser" ] || say "the browser tests of the report will be skipped; they need: $browser"
        return 0
    fi
    say "installing system packages: $required$browser"
    apt-get update -qq || say "the package lists could not be updated, going on with the old ones"
    if [ -n "$required" ]; then
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $required >/dev/null
    fi
    if [ -n "$browser" ]; then
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $browser >/dev/null ||
            say "no browser could be installed; the browser tests of the report will be skipped"
    fi
}

# The distribution's own Python comes first: its headers fit the ROS wheels.
find_python() {
    for candidate in ${PYTHON:-} /usr/bin/python3.11 python3.11 /usr/bin/python3 python3; do
        "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null &&
            echo "$candidate" && return
    done
    for candidate in ${PYTHON:-} /usr/bin/python3 python3; do
        "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null &&
            echo "$candidate" && return
    done
    say "no Python >= 3.10 with venv was found; install python3.11 and python3.11-venv, or set PYTHON" >&2
    exit 1
}

# is_done NAME KEY: whether the step NAME was last finished with the same inputs.
is_done() { [ "$(cat "$VENV/.done-$1" 2>/dev/null)" = "$2" ]; }
mark_done() { printf '%s\n' "$2" >"$VENV/.done-$1"; }
hash_of() { cat "$@" | sha256sum | cut -d' ' -f1; }

install_requirements() {
    key=$(hash_of requirements/constraints.txt requirements/venv.txt requirements/ros.txt pyproject.toml)
    is_done requirements "$key" && return
    if [ "$HAS_ROS" = yes ]; then
        say "installing pinned Python packages, about 400 MB to unpack (1-3 minutes)"
        "$VENV/bin/pip" install -qq --disable-pip-version-check -c requirements/constraints.txt \
            -r requirements/venv.txt -r requirements/ros.txt
        "$VENV/bin/python" tools/repair_ros_wheels.py
    else
        say "installing Python packages within the ranges of pyproject.toml"
        "$VENV/bin/pip" install -qq --disable-pip-version-check '.[torch,train,mesh,viz,dev]'
        "$VENV/bin/pip" uninstall -qq -y lift3d_ros
    fi
    "$VENV/bin/pip" install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
    mark_done requirements "$key"
}

# Backends of which only their own tests make use; in a folder of their own, since all of their libraries in one
# process with those of the other tests were seen to crash it. A machine for which there are no wheels does without.
install_engines() {
    key=$(hash_of requirements/engines.txt)
    is_done engines "$key" && [ -d build/engines ] && return
    say "fetching TensorRT-RTX and OpenVINO for their tests (about a minute)"
    rm -rf build/engines
    if "$VENV/bin/pip" install -qq --disable-pip-version-check --no-deps --target build/engines \
        -r requirements/engines.txt; then
        mark_done engines "$key"
    else
        rm -rf build/engines
        say "they cannot be had; their tests will be skipped"
    fi
}

# With --symlink-install an edited file needs no new build; a new, moved or deleted one does.
build_interfaces() {
    key=$({ cat package.xml CMakeLists.txt msg/* srv/* action/* scripts/*
        find lift3d_ros config launch models scripts test/interfaces -type f ! -name '*.pyc' | sort; } | sha256sum)
    is_done interfaces "$key" && return
    say "building the interfaces with colcon (about one minute the first time)"
    export VIRTUAL_ENV="$VENV" AMENT_PREFIX_PATH="$VENV" CMAKE_PREFIX_PATH="$VENV" PATH="$VENV/bin:$PATH"
    mkdir -p build
    colcon --log-base build/log build --merge-install --symlink-install --install-base "$VENV" \
        --build-base build/colcon --paths . test/interfaces/tf2_msgs test/interfaces/vision_msgs \
        --event-handlers console_direct- console_cohesion- \
        --cmake-args -DBUILD_TESTING=OFF -DPython3_EXECUTABLE="$VENV/bin/python3" >build/colcon.log 2>&1 || {
        tail -n 40 build/colcon.log
        say "the interfaces could not be built; the whole output is in build/colcon.log"
        exit 1
    }
    find "$VENV/lib" "$VENV/share" -path '*lift3d_ros*' -xtype l -delete
    mark_done interfaces "$key"
}

install_packages
PYTHON=$(find_python)
VERSION=$("$PYTHON" -c 'import platform; print(platform.python_version())')
case $VERSION in 3.11.*) HAS_ROS=yes ;; *) HAS_ROS=no ;; esac
[ -z "${WITHOUT_ROS:-}" ] || HAS_ROS=no
if ! is_done venv "$VERSION $HAS_ROS"; then
    say "making .venv with Python $VERSION ($PYTHON)"
    rm -rf "$VENV"
    "$PYTHON" -m venv "$VENV"
    mark_done venv "$VERSION $HAS_ROS"
fi
if [ -n "${WITHOUT_ROS:-}" ]; then
    say "WITHOUT_ROS is set: the nodes are left out."
elif [ "$HAS_ROS" = no ]; then
    say "Python is $VERSION; the ROS 2 wheels exist for CPython 3.11 only, so the nodes are left out."
    say "To get them: apt-get install python3.11 python3.11-venv python3.11-dev, then 'make clean setup';"
    say "or use a ROS 2 distribution, see README.md."
fi
install_requirements
[ "$HAS_ROS" = no ] || build_interfaces
[ "${1:-}" != engines ] || [ "$HAS_ROS" = no ] || install_engines
say "ready: .venv/bin/lift3d --help"

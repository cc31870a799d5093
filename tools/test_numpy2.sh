#!/bin/sh
# Runs the tests that need no ROS on numpy 2, in .venv-numpy2; run it through 'make test-numpy2'. Arguments go to pytest.
# The versions are those of requirements/venv.txt, apart from numpy and what is tied to its major version.
# Tests of the nodes and of nuscenes-devkit, which wants numpy 1, are skipped with a reason.
set -eu
cd "$(dirname "$0")/.."

VENV=$PWD/.venv-numpy2
# What belongs to .venv must not be found from here: its interfaces, its Python tree and its executables.
unset AMENT_PREFIX_PATH PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE # set by the Python of .venv for its children
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" PIP_DISABLE_PIP_VERSION_CHECK=1 PATH="$VENV/bin:$PATH"

say() { printf '%s\n' "test_numpy2: $*"; }

find_python() {
    for candidate in ${PYTHON:-} /usr/bin/python3.11 python3.11 /usr/bin/python3 python3; do
        "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null &&
            echo "$candidate" && return
    done
    say "no Python >= 3.11 with venv was found; install python3.11 and python3.11-venv, or set PYTHON" >&2
    exit 1
}

requirements() {
    sed -e 's/^numpy==.*/numpy>=2/' -e 's/^opencv-python-headless==.*/opencv-python-headless>=4.12,<5/' \
        -e '/^nuscenes-devkit==/d' requirements/venv.txt
}

KEY=$({ requirements; cat pyproject.toml setup.py; } | sha256sum)
if [ "$(cat "$VENV/.done" 2>/dev/null)" != "$KEY" ]; then
    PYTHON=$(find_python)
    say "making .venv-numpy2 with $PYTHON, about 400 MB to unpack (1-3 minutes)"
    [ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
    requirements >"$VENV/requirements.txt"
    "$VENV/bin/pip" install -q -r "$VENV/requirements.txt"
    "$VENV/bin/pip" install -q --no-deps --no-build-isolation -e .
    printf '%s\n' "$KEY" >"$VENV/.done"
fi
"$VENV/bin/python" -c 'import cv2, numpy, scipy
assert int(numpy.__version__.split(".")[0]) >= 2, f"numpy is {numpy.__version__}; delete .venv-numpy2 and try again"
print(f"test_numpy2: numpy {numpy.__version__}, OpenCV {cv2.__version__}, scipy {scipy.__version__}", flush=True)'
exec "$VENV/bin/python" tools/run_tests.py "$@"

"""Points the CMake files of the ROS wheels at this machine's Python and numpy headers.

The wheels name include folders of the machine that built them, which CMake refuses. Running it again changes nothing.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import numpy as np

_FOREIGN_NUMPY = re.compile(r"/opt/python/[^/;\"]+/lib/python[\d.]+/site-packages/numpy/_?core/include")
_FOREIGN_PYTHON = re.compile(r"/opt/python/[^/;\"]+/include/python[\d.]+")


def main() -> int:
    """Rewrite every ``share/**/*.cmake`` of the running environment and return the exit status."""
    changed = 0
    for path in (Path(sys.prefix) / "share").rglob("*.cmake"):
        before = path.read_text(encoding="utf-8")
        after = _FOREIGN_NUMPY.sub(np.get_include(), before)
        after = _FOREIGN_PYTHON.sub(sysconfig.get_paths()["include"], after)
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed += 1
    print(f"repaired {changed} CMake files of the ROS wheels")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Makes an OpenGL context without a display (EGL), and says what is missing where it cannot."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lift3d_ros.errors import Lift3dError


class RenderingError(Lift3dError):
    """No OpenGL context can be made, or a camera cannot be drawn."""


def create_context() -> tuple[Any, Any]:
    """Return a new context and the module moderngl, which gives its constants.

    Raises:
        RenderingError: the Python package or the driver is missing; names what to install.
    """
    try:
        moderngl: Any = import_module("moderngl")
    except ImportError as error:
        raise RenderingError(
            f"rendering needs the Python package moderngl ({error}); install it with: pip install moderngl"
        ) from None
    problems = []
    for library in ("libGL.so.1", "libOpenGL.so.0"):
        try:
            context = moderngl.create_context(
                standalone=True, backend="egl", require=330, libgl=library, libegl="libEGL.so.1"
            )
        except Exception as error:  # glcontext raises bare Exception
            problems.append(str(error))
        else:
            return context, moderngl
    raise RenderingError(
        f"no OpenGL 3.3 context through EGL ({problems[0]}); on Debian and Ubuntu install the software renderer with: "
        "apt-get install --no-install-recommends libegl1 libgl1 libgl1-mesa-dri"
    )

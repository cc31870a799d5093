"""Framebuffers that pictures are drawn into; one serves cameras of all sizes up to its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class Target:
    """Colour attachments with one depth buffer; pictures take the corner of the first row and column.

    Args:
        forms: number of components and type of each attachment, for example ``4f4``.
    """

    def __init__(self, gl: Any, size: tuple[int, int], forms: Sequence[str]) -> None:
        self.size = size
        self.attachments = [gl.texture(size, int(form[0]), dtype=form[1:]) for form in forms]
        self._depth = gl.depth_renderbuffer(size)
        self.full = gl.framebuffer(self.attachments, self._depth)
        self._colors = gl.framebuffer(self.attachments[:1], self._depth) if forms else None

    def begin(self, gl: Any, moderngl: Any, size: tuple[int, int], clear: float = 0.0) -> None:
        """Make ready for drawing surfaces into `size`."""
        self.full.use()
        self.full.viewport = self.full.scissor = (0, 0, *size)
        self.full.clear(clear, viewport=(0, 0, *size))
        gl.enable(moderngl.DEPTH_TEST)
        gl.disable(moderngl.BLEND)
        gl.depth_func = "<="

    def begin_colors(self, size: tuple[int, int]) -> Any:
        """Make ready for drawing over the first attachment, behind what is nearer; return the framebuffer."""
        assert self._colors is not None
        self._colors.use()
        self._colors.viewport = self._colors.scissor = (0, 0, *size)
        return self._colors

    def begin_filter(self, gl: Any, moderngl: Any, size: tuple[int, int]) -> None:
        """Make ready for writing every pixel of all attachments."""
        self.full.use()
        self.full.viewport = self.full.scissor = (0, 0, *size)
        gl.disable(moderngl.DEPTH_TEST)

    def read(self, attachment: int, size: tuple[int, int], components: int, dtype: Any) -> Any:
        """Return the values of an attachment, (H, W) or (H, W, components), rows from the top of the picture."""
        name = {np.float32: "f4", np.int32: "i4"}[dtype]
        data = self.full.read((0, 0, *size), components, attachment=attachment, alignment=1, dtype=name)
        shape = (size[1], size[0]) if components == 1 else (size[1], size[0], components)
        return np.frombuffer(data, dtype).reshape(shape)

    def release(self) -> None:
        """Free the memory of the device."""
        self.full.release()
        if self._colors is not None:
            self._colors.release()
        for buffer in (*self.attachments, self._depth):
            buffer.release()

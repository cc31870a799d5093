"""Decompresses chunks of recordings, also those that break off, within a bound on memory."""

from __future__ import annotations

import bz2
import sys

from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor
else:
    from backports.zstd import ZstdDecompressor

_MAX_CHUNK_BYTES = 1 << 30


def decompress_beginning(data: bytes, compression: str, size: int) -> bytes:
    """Return what can be had of `data`: `size` bytes, fewer where it breaks off or is damaged.

    Args:
        compression: ``""`` or ``none``, ``lz4``, ``zstd`` or ``bz2``; nothing can be had of others.
        size: bytes that the file says there are; more than 1 GiB are taken for damage.
    """
    if size > _MAX_CHUNK_BYTES:
        return b""
    if compression in ("", "none"):
        return data[:size]
    try:
        if compression == "lz4":
            return bytes(LZ4FrameDecompressor().decompress(data, max_length=size))
        if compression == "zstd":
            return bytes(ZstdDecompressor().decompress(data, max_length=size))
        if compression == "bz2":
            return bz2.BZ2Decompressor().decompress(data, max_length=size)
    except Exception:  # each library has its own error, lz4 plain RuntimeError
        return b""
    return b""

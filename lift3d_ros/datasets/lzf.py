"""Unpacks LZF, the compression of PCD files. Source: the format as described by the Point Cloud Library."""

from __future__ import annotations

_LARGEST_LITERAL = 32


def decompress_lzf(data: bytes, size: int) -> bytes:
    """Return the `size` bytes that were compressed.

    Runs of at most 32 new bytes alternate with copies of earlier ones.

    Raises:
        ValueError: the data end early, point before their beginning, or hold another number of bytes.
    """
    result = bytearray()
    place, end = 0, len(data)
    while place < end:
        control = data[place]
        place += 1
        if control < _LARGEST_LITERAL:
            if place + control + 1 > end:
                raise ValueError("they end within a run of bytes")
            result += data[place : place + control + 1]
            place += control + 1
        else:
            length = control >> 5
            if place + 1 + (length == 7) > end:
                raise ValueError("they end within a reference")
            if length == 7:
                length += data[place]
                place += 1
            first = len(result) - ((control & 31) << 8) - data[place] - 1
            place += 1
            if first < 0:
                raise ValueError("a reference points before the beginning")
            length += 2
            piece = result[first : first + length]
            # A copy may reach into what it writes; then it repeats.
            result += (piece * (length // len(piece) + 1))[:length]
        if len(result) > size:
            raise ValueError(f"they hold more than {size} bytes")
    if len(result) != size:
        raise ValueError(f"they hold {len(result)} bytes; expected {size}")
    return bytes(result)

"""The Internet checksum (RFC 1071) in big-integer arithmetic.

Its one's complement sum of 16-bit words is the remainder of the whole buffer, read as one number, modulo 65,535:
2**16 leaves 1, so every word counts the same wherever it stands. CPython does that in two passes over the buffer, in
C: 2.5 us for 1,488 bytes, against 10.1 for `sum` over a `struct` of quads, 10.9 over an `array` of 32-bit words and
17.7 of 16-bit ones (CPython 3.11.7, AMD EPYC). The division takes most of it, so that the quarters of a long buffer are
added first: 1.7 us. Folding by shifts and masks, to the same end, costs as much as it saves.

Sums here are any number congruent to the sum, so callers add them, and plain fields, without folding.
"""

from __future__ import annotations

import functools
import struct

__all__ = ["checksum", "quarters", "quarters_sum", "word_sum"]

WORD_MAX = 0xFFFF
LONG_BYTES = 512


def word_sum(data: bytes | bytearray | memoryview) -> int:
    """A number congruent to the sum of the big-endian words of `data`; an odd last byte counts as a word's first.

    Read as little-endian, every word is swapped and an odd tail is padded on the right side; the shift swaps back,
    for swapping the bytes of a one's complement sum is a multiplication by 256 (RFC 1071 section 2B).
    """
    if len(data) < LONG_BYTES:
        return int.from_bytes(data, "little") % WORD_MAX << 8
    return quarters_sum(*quarters(len(data)).unpack(data))


@functools.lru_cache(64)  # most frames have one of a few sizes
def quarters(size: int) -> struct.Struct:
    """Cuts `size` bytes into four parts for `quarters_sum`: they start at words."""
    quarter = size >> 2 & ~1
    return struct.Struct(f"{quarter}s{quarter}s{quarter}s{size - 3 * quarter}s")


def quarters_sum(first: bytes, second: bytes, third: bytes, fourth: bytes) -> int:
    """`word_sum` of the four together."""
    number = int.from_bytes
    total = number(first, "little") + number(second, "little") + number(third, "little") + number(fourth, "little")
    return total % WORD_MAX << 8


def checksum(total: int) -> int:
    """What to store, 0..0xFFFE, given the sum of everything covered with the checksum's own field as zero.

    0 and 0xFFFF are the same number here. RFC 768 reserves 0 for "no checksum", so UDP stores `or 0xFFFF`.
    """
    return -total % WORD_MAX

"""Software for what a network card would do for a sender: checksums and segmentation (the adapter of vnet wires).

Follows virtio 1.2 section 5.1.6.2 where the kernel's drivers/net/tun.c does, and like it trusts the frame, never
`hdr_len`. Two differences from a card: checksums of segments are summed up from the frame's own addresses, so the
sender's pseudo-header seed does not matter (Linux's holds the whole length, others none); and UFO (GsoType.UDP) is
refused: it cuts one datagram into IP fragments, Linux no longer generates it (since 4.14), and no client of ours
offers it, so a frame that asks for it is a mistake (C-70).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from etherloom.client import FRAME_MIN, VNET_HEADER_BYTES, Frame
from etherloom.net.offload.checksum import checksum, word_sum
from etherloom.net.offload.header import GSO_ECN, LAYOUT, GsoType, MalformedOffload, VnetFlag
from etherloom.net.offload.packet import TCP, UDP, parse
from etherloom.net.offload.segmentation import segments

__all__ = ["complete"]

PROTOCOLS = {
    # gso_type: IP version (None: either), transport protocol, where its checksum stands in its header
    GsoType.TCPV4: (4, TCP, 16),
    GsoType.TCPV4 | GSO_ECN: (4, TCP, 16),
    GsoType.TCPV6: (6, TCP, 16),
    GsoType.TCPV6 | GSO_ECN: (6, TCP, 16),
    GsoType.UDP_L4: (None, UDP, 6),
}

NEEDS_CSUM = int(VnetFlag.NEEDS_CSUM)
GSO_NONE = int(GsoType.NONE)
U16 = struct.Struct(">H")


def complete(frame: Frame) -> Iterator[bytes]:
    """Do what the header in front of `frame` asks for.

    Args:
        frame: A virtio-net header and one Ethernet frame; borrowed until return.

    Returns:
        Ethernet frames without header, in the order in which they have to be sent; new objects that the caller owns,
        made one by one as they are asked for. One to `SEGMENTS_MAX`, each with at most `gso_size` bytes of TCP or UDP
        payload. Ethernet padding stays on a frame that is not segmented.

    Raises:
        MalformedOffload: Header and frame contradict each other; nothing of it can be sent. The sender's fault, and
            the only exception, whatever the bytes are; the iterator raises none.
    """
    if len(frame) < VNET_HEADER_BYTES + FRAME_MIN:
        raise MalformedOffload(f"{len(frame)} bytes hold no virtio-net header and Ethernet frame")
    flags, gso_type, _, gso_size, csum_start, csum_offset = LAYOUT.unpack_from(frame)
    if gso_type == GSO_NONE:
        plain = bytes(frame[VNET_HEADER_BYTES:])
        return iter((_with_checksum(plain, csum_start, csum_offset) if flags & NEEDS_CSUM else plain,))
    if gso_type not in PROTOCOLS or not gso_size:
        raise MalformedOffload(f"gso_type {gso_type:#x} with gso_size {gso_size}")
    version, protocol, checksum_at = PROTOCOLS[gso_type]
    large = memoryview(bytes(frame))[VNET_HEADER_BYTES:]  # a copy only of what is not ours to keep, 64 KiB mostly
    packet = parse(large, version, protocol)
    if flags & NEEDS_CSUM and (csum_start, csum_offset) != (packet.transport, checksum_at):
        raise MalformedOffload(f"checksum at {csum_start} + {csum_offset}, transport header at {packet.transport}")
    return segments(large, packet, protocol, gso_size)


def _with_checksum(frame: bytes, start: int, offset: int) -> bytes:
    """`frame` with the sum from `start` to its end, which includes the sender's seed, stored at `start + offset`.

    That needs no look at the protocols, so it serves encapsulated packets too. Zero is stored as 0xFFFF for all of
    them: UDP must, for TCP it is the same number.
    """
    at = start + offset
    if start < FRAME_MIN or at + 2 > len(frame):
        raise MalformedOffload(f"checksum at {start} + {offset} in a frame of {len(frame)} bytes")
    return b"".join((frame[:at], U16.pack(checksum(word_sum(frame[start:])) or 0xFFFF), frame[at + 2 :]))

"""Cutting one oversized packet into frames for the wire: TSO and USO in software.

Each segment repeats the headers, with what differs patched into one buffer. The sums of what stays the same are taken
once, so a segment costs one pass over its payload and a handful of additions.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from etherloom.net.offload.checksum import checksum, word_sum
from etherloom.net.offload.header import MalformedOffload
from etherloom.net.offload.packet import IPV6_BYTES, TCP, Packet

__all__ = ["SEGMENTS_MAX", "segments"]

SEGMENTS_MAX = 2048
"""64 KiB in segments of 32 bytes. Linux hardly goes below 36: tcp_min_snd_mss, 48, less 12 of timestamps."""

U16 = struct.Struct(">H")
U32 = struct.Struct(">I")
U16_PAIR = struct.Struct(">HH")

IPV4_LENGTH_AT, IPV4_CHECKSUM_AT, IPV6_LENGTH_AT = 2, 10, 4
TCP_SEQUENCE_AT, TCP_FLAGS_AT, TCP_CHECKSUM_AT = 4, 13, 16
UDP_LENGTH_AT = 4  # the checksum follows

FIN, PSH, CWR = 0x01, 0x08, 0x80

Stamp = Callable[[int, int, int], None]
"""Patches one segment's header, given its index, its bytes from the transport header on, its payload's word sum."""


def segments(frame: bytes, packet: Packet, protocol: int, size: int) -> list[bytes]:
    """Cut `frame` so that each result carries `size` bytes of payload, the last one what is left.

    Args:
        frame: One Ethernet frame; what stands in its checksum fields does not matter.
        packet: Its headers.
        protocol: TCP or UDP.
        size: At least 1. A payload no longer than that gives one frame, complete.

    Raises:
        MalformedOffload: More than `SEGMENTS_MAX` segments.
    """
    start, end = packet.payload, packet.end
    if end - start > size * SEGMENTS_MAX:
        raise MalformedOffload(f"{end - start} bytes in segments of {size}")
    header = bytearray(frame[:start])
    fixed = start - packet.transport
    last = max(end - start - 1, 0) // size
    stamp_network = _ipv4(header, packet) if packet.version == 4 else _ipv6(header, packet)
    stamp_transport = _tcp(header, packet, size, last) if protocol == TCP else _udp(header, packet)
    cut = []
    for index in range(last + 1):
        chunk = frame[start : min(start + size, end)]
        start += size
        length = fixed + len(chunk)
        payload_sum = word_sum(chunk)
        stamp_network(index, length, payload_sum)
        stamp_transport(index, length, payload_sum)
        cut.append(b"".join((header, chunk)))
    return cut


def _ipv4(header: bytearray, packet: Packet) -> Stamp:
    """Total length, identification counted up, header checksum."""
    length_at, checksum_at = packet.network + IPV4_LENGTH_AT, packet.network + IPV4_CHECKSUM_AT
    header_bytes = packet.transport - packet.network
    _, first_id = U16_PAIR.unpack_from(header, length_at)
    U16_PAIR.pack_into(header, length_at, 0, 0)
    U16.pack_into(header, checksum_at, 0)
    fixed_sum = word_sum(header[packet.network : packet.transport])

    def stamp(index: int, length: int, _: int) -> None:
        length += header_bytes
        identification = (first_id + index) & 0xFFFF
        U16_PAIR.pack_into(header, length_at, length, identification)
        U16.pack_into(header, checksum_at, checksum(fixed_sum + length + identification))

    return stamp


def _ipv6(header: bytearray, packet: Packet) -> Stamp:
    """Payload length, extension headers included."""
    length_at = packet.network + IPV6_LENGTH_AT
    extension_bytes = packet.transport - packet.network - IPV6_BYTES

    def stamp(_: int, length: int, __: int) -> None:
        U16.pack_into(header, length_at, extension_bytes + length)

    return stamp


def _tcp(header: bytearray, packet: Packet, size: int, last: int) -> Stamp:
    """Sequence number, checksum, and the flags that belong to one end of the packet only.

    CWR answers one congestion signal once, so it stays on the first segment (RFC 3168 section 6.1.2); PSH and FIN
    follow the data, so they stay on the last.
    """
    sequence_at, flags_at = packet.transport + TCP_SEQUENCE_AT, packet.transport + TCP_FLAGS_AT
    checksum_at = packet.transport + TCP_CHECKSUM_AT
    (first_sequence,) = U32.unpack_from(header, sequence_at)
    all_flags = header[flags_at]
    U32.pack_into(header, sequence_at, 0)
    U16.pack_into(header, checksum_at, 0)
    header[flags_at] = 0
    fixed_sum = word_sum(header[packet.transport :]) + packet.pseudo_sum

    def stamp(index: int, length: int, payload_sum: int) -> None:
        sequence = (first_sequence + index * size) & 0xFFFFFFFF
        flags = all_flags
        if index:
            flags &= ~CWR
        if index < last:
            flags &= ~(FIN | PSH)
        header[flags_at] = flags
        U32.pack_into(header, sequence_at, sequence)
        U16.pack_into(header, checksum_at, checksum(fixed_sum + length + sequence + flags + payload_sum))

    return stamp


def _udp(header: bytearray, packet: Packet) -> Stamp:
    """Length and checksum; the length counts twice, in the header and in the pseudo header."""
    length_at = packet.transport + UDP_LENGTH_AT
    U16_PAIR.pack_into(header, length_at, 0, 0)
    fixed_sum = word_sum(header[packet.transport :]) + packet.pseudo_sum

    def stamp(_: int, length: int, payload_sum: int) -> None:
        U16_PAIR.pack_into(header, length_at, length, checksum(fixed_sum + 2 * length + payload_sum) or 0xFFFF)

    return stamp

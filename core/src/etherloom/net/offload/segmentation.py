"""Cutting one oversized packet into frames for the wire: TSO and USO in software.

Each segment repeats the headers but for what differs. The sums of what stays the same are taken once, so a segment
costs one pass over its payload and a handful of additions; it is cut when it is asked for, so that a receiver can do
other things in between.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from etherloom.client import Frame
from etherloom.net.offload.checksum import checksum, word_sum
from etherloom.net.offload.header import MalformedOffload
from etherloom.net.offload.packet import IPV6_BYTES, TCP, Packet
from etherloom.net.offload.vector import word_sums

__all__ = ["SEGMENTS_MAX", "segments"]

SEGMENTS_MAX = 2048
"""64 KiB in segments of 32 bytes. Linux hardly goes below 36: tcp_min_snd_mss, 48, less 12 of timestamps."""

U16 = struct.Struct(">H")
U32 = struct.Struct(">I")
UDP = struct.Struct(">4sHH")

IPV4_LENGTH_AT, IPV4_CHECKSUM_AT, IPV6_LENGTH_AT = 2, 10, 4
TCP_SEQUENCE_AT, TCP_FLAGS_AT, TCP_CHECKSUM_AT = 4, 13, 16
UDP_LENGTH_AT = 4  # the checksum follows

FIN, PSH, CWR = 0x01, 0x08, 0x80

Stamp = Callable[[int, int, int], bytes]
"""One segment's header, given its index, its bytes from the transport header on, its payload's word sum."""


def segments(frame: Frame, packet: Packet, protocol: int, size: int) -> Iterator[bytes]:
    """Cut `frame`, one segment at a time: each carries `size` bytes of payload, the last one what is left.

    Args:
        frame: One Ethernet frame, which nobody changes before the last segment is cut; what stands in its checksum
            fields does not matter.
        packet: Its headers.
        protocol: TCP or UDP.
        size: At least 1. A payload no longer than that gives one frame, complete.

    Raises:
        MalformedOffload: More than `SEGMENTS_MAX` segments; raised now, not by the iterator.
    """
    start, end = packet.payload, packet.end
    if end - start > size * SEGMENTS_MAX:
        raise MalformedOffload(f"{end - start} bytes in segments of {size}")
    last = max(end - start - 1, 0) // size
    before, header = bytearray(frame[: packet.transport]), bytearray(frame[packet.transport : start])
    network = _ipv4(before, packet) if packet.version == 4 else _ipv6(before, packet)
    transport = _tcp(header, packet, size, last) if protocol == TCP else _udp(header, packet)

    def cut() -> Iterator[bytes]:
        rest = start + last * size
        length = len(header) + size
        for index, total in enumerate(word_sums(frame[start:rest], size)):
            at = start + index * size
            yield b"".join((network(index, length, 0), transport(index, length, total), frame[at : at + size]))
        payload = frame[rest:end]
        length = len(header) + len(payload)
        yield b"".join((network(last, length, 0), transport(last, length, word_sum(payload)), payload))

    return cut()


def _ipv4(header: bytearray, packet: Packet) -> Stamp:
    """Total length, identification counted up, header checksum."""
    at = packet.network + IPV4_LENGTH_AT
    header_bytes = len(header) - packet.network
    first_id = U16.unpack_from(header, at + 2)[0]
    header[at : at + 4] = bytes(4)
    U16.pack_into(header, packet.network + IPV4_CHECKSUM_AT, 0)
    fixed_sum = word_sum(header[packet.network :])
    pack = struct.Struct(f">{at}sHH4sH{header_bytes - 12}s").pack
    before, between, behind = bytes(header[:at]), bytes(header[at + 4 : at + 8]), bytes(header[at + 10 :])

    def stamp(index: int, length: int, _: int) -> bytes:
        length += header_bytes
        identification = (first_id + index) & 0xFFFF
        return pack(before, length, identification, between, checksum(fixed_sum + length + identification), behind)

    return stamp


def _ipv6(header: bytearray, packet: Packet) -> Stamp:
    """Payload length, extension headers included."""
    at = packet.network + IPV6_LENGTH_AT
    extension_bytes = len(header) - packet.network - IPV6_BYTES
    before, behind = bytes(header[:at]), bytes(header[at + 2 :])

    def stamp(_: int, length: int, __: int) -> bytes:
        return before + U16.pack(extension_bytes + length) + behind

    return stamp


def _tcp(header: bytearray, packet: Packet, size: int, last: int) -> Stamp:
    """Sequence number, checksum, and the flags that belong to one end of the packet only.

    CWR answers one congestion signal once, so it stays on the first segment (RFC 3168 section 6.1.2); PSH and FIN
    follow the data, so they stay on the last.
    """
    (first_sequence,) = U32.unpack_from(header, TCP_SEQUENCE_AT)
    all_flags = header[TCP_FLAGS_AT]
    U32.pack_into(header, TCP_SEQUENCE_AT, 0)
    U16.pack_into(header, TCP_CHECKSUM_AT, 0)
    header[TCP_FLAGS_AT] = 0
    fixed_sum = word_sum(header) + packet.pseudo_sum
    pack = struct.Struct(f">4sI5sB2sH{len(header) - 18}s").pack
    ports, between = bytes(header[:4]), bytes(header[8:13])
    window, behind = bytes(header[14:16]), bytes(header[18:])

    def stamp(index: int, length: int, payload_sum: int) -> bytes:
        sequence = (first_sequence + index * size) & 0xFFFFFFFF
        flags = all_flags
        if index:
            flags &= ~CWR
        if index < last:
            flags &= ~(FIN | PSH)
        total = checksum(fixed_sum + length + sequence + flags + payload_sum)
        return pack(ports, sequence, between, flags, window, total, behind)

    return stamp


def _udp(header: bytearray, packet: Packet) -> Stamp:
    """Length and checksum; the length counts twice, in the header and in the pseudo header."""
    ports = bytes(header[:UDP_LENGTH_AT])
    fixed_sum = word_sum(ports) + packet.pseudo_sum

    def stamp(_: int, length: int, payload_sum: int) -> bytes:
        return UDP.pack(ports, length, checksum(fixed_sum + 2 * length + payload_sum) or 0xFFFF)

    return stamp

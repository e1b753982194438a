"""IPv4, TCP and UDP checksums, as the chip verifies them for what it receives and completes them for what it sends.

The chip knows IPv4 right behind the addresses, whole datagrams only. For anything else, IPv6 and tagged frames among
them, it has no verdict on reception and no effect on transmission.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from etherloom.net.offload import GsoType, VnetFlag, VnetHeader
from etherloom.net.offload.checksum import checksum, word_sum

__all__ = ["Headers", "complete_ipv4", "headers", "large_send", "needs_checksum", "verdict"]

TCP: Final = 6
UDP: Final = 17

# Receive descriptor status: what it is, and which checksum is wrong.
PID_TCP: Final = 1 << 16
PID_UDP: Final = 2 << 16
PID_IP: Final = 3 << 16
IPF: Final = 1 << 15
UDPF: Final = 1 << 14
TCPF: Final = 1 << 13

NETWORK_AT = 14
IPV4 = struct.Struct(">BxH2xHxB2x8s")
FRAGMENT = 0x3FFF
CWR = 0x80  # of the TCP flags
CHECKSUM_OFFSET = {TCP: 16, UDP: 6}
TRANSPORT_BYTES = {TCP: 20, UDP: 8}


class Headers(NamedTuple):
    """Where things are in an IPv4 frame whose lengths make sense; offsets from the frame's first byte."""

    transport: int
    end: int
    protocol: int
    fragment: bool
    addresses: bytes

    @property
    def pseudo_sum(self) -> int:
        """Word sum of the pseudo header (RFC 9293 section 3.1, RFC 768)."""
        return word_sum(self.addresses) + self.protocol + self.end - self.transport


def headers(data: bytes | bytearray) -> Headers | None:
    """The headers of an untagged IPv4 frame; None for any other, and for one whose lengths contradict it."""
    if data[12:14] != b"\x08\x00" or len(data) < NETWORK_AT + IPV4.size:
        return None
    version, total, fragment, protocol, addresses = IPV4.unpack_from(data, NETWORK_AT)
    transport, end = NETWORK_AT + 4 * (version & 15), NETWORK_AT + total
    if version >> 4 != 4 or version & 15 < 5 or not transport <= end <= len(data):
        return None
    return Headers(transport, end, protocol, bool(fragment & FRAGMENT), addresses)


def verdict(data: bytes) -> int:
    """Protocol and checksum bits for a received frame."""
    found = headers(data)
    if found is None:
        return 0
    wrong = IPF if word_sum(data[NETWORK_AT : found.transport]) % 0xFFFF else 0
    length = found.end - found.transport
    if found.fragment or length < TRANSPORT_BYTES.get(found.protocol, length + 1):
        return PID_IP | wrong
    if found.protocol == UDP:
        at = found.transport + CHECKSUM_OFFSET[UDP]
        unused = data[at : at + 2] == b"\0\0"
        bad = not unused and (word_sum(data[found.transport : found.end]) + found.pseudo_sum) % 0xFFFF
        return PID_UDP | wrong | (UDPF if bad else 0)
    bad = (word_sum(data[found.transport : found.end]) + found.pseudo_sum) % 0xFFFF
    return PID_TCP | wrong | (TCPF if bad else 0)


def complete_ipv4(data: bytearray, found: Headers) -> None:
    """Store the IPv4 header checksum."""
    at = NETWORK_AT + 10
    data[at : at + 2] = b"\0\0"
    data[at : at + 2] = checksum(word_sum(data[NETWORK_AT : found.transport])).to_bytes(2, "big")


def needs_checksum(data: bytearray, found: Headers, protocol: int) -> VnetHeader | None:
    """Complete the TCP or UDP checksum, or leave it to whoever is first to need it.

    Returns:
        The virtio-net header that asks for what was left; None if the frame is not a whole one of that protocol, in
        which case nothing is changed.
    """
    if found.protocol != protocol or found.fragment or found.end - found.transport < TRANSPORT_BYTES[protocol]:
        return None
    offset = CHECKSUM_OFFSET[protocol]
    at = found.transport + offset
    if any(data[found.end :]):  # a virtio-net header can only ask for a sum up to the frame's end
        data[at : at + 2] = b"\0\0"
        total = checksum(word_sum(data[found.transport : found.end]) + found.pseudo_sum)
        data[at : at + 2] = (total or 0xFFFF if protocol == UDP else total).to_bytes(2, "big")
        return VnetHeader()
    data[at : at + 2] = (found.pseudo_sum % 0xFFFF).to_bytes(2, "big")
    return VnetHeader(flags=VnetFlag.NEEDS_CSUM, csum_start=found.transport, csum_offset=offset)


def large_send(data: bytearray, found: Headers, mss: int) -> VnetHeader | None:
    """Ask for segmentation of a TCP frame; None if there is nothing to segment or the frame is no whole TCP one."""
    if found.protocol != TCP or found.fragment or found.end - found.transport < TRANSPORT_BYTES[TCP]:
        return None
    payload = found.transport + 4 * (data[found.transport + 12] >> 4)
    if payload < found.transport + TRANSPORT_BYTES[TCP] or found.end - payload <= mss:
        return None
    del data[found.end :]
    offset = CHECKSUM_OFFSET[TCP]
    at = found.transport + offset
    data[at : at + 2] = (found.pseudo_sum % 0xFFFF).to_bytes(2, "big")
    return VnetHeader(
        flags=VnetFlag.NEEDS_CSUM,
        gso_type=GsoType.TCPV4,
        ecn=bool(data[found.transport + 13] & CWR),
        hdr_len=payload,
        gso_size=mss,
        csum_start=found.transport,
        csum_offset=offset,
    )

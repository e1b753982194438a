"""What network chips do to IPv4 frames: verify the checksums of what they receive, complete those of what they send.

For chips that know IPv4 right behind the addresses, TCP and UDP in it, and nothing else: IPv6 and tagged frames are
data to them. Every length is checked against the others before one is used, and a frame in which one contradicts
another has no headers here (CVE-2015-5165: a chip that believed them sent what lay behind its buffer).
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from etherloom.net.offload import GsoType, VnetFlag, VnetHeader
from etherloom.net.offload.checksum import checksum, word_sum

__all__ = [
    "FRAGMENT",
    "TCP",
    "UDP",
    "Headers",
    "complete_ipv4",
    "complete_transport",
    "headers",
    "ipv4_ok",
    "transport_ok",
]

TCP: Final = 6
UDP: Final = 17
FRAGMENT: Final = -1  # as protocol: a part of a datagram, whose transport header may be elsewhere

ETHERTYPE = slice(12, 14)
NETWORK_AT: Final = 14
IPV4 = struct.Struct(">BxH2xHxB2x8s")
IPV4_BYTES, ADDRESSES_BYTES, TCP_BYTES, UDP_BYTES = 20, 8, 20, 8
IPV4_CHECKSUM = slice(NETWORK_AT + 10, NETWORK_AT + 12)
FRAGMENT_BITS: Final = 0x3FFF
CHECKSUM_OFFSET = {TCP: 16, UDP: 6}
FLAGS_OFFSET, CWR = 13, 0x80  # of TCP


class Headers(NamedTuple):
    """Where things are in an IPv4 frame; offsets from the frame's first byte.

    Attributes:
        protocol: Of IPv4, or `FRAGMENT`.
        transport, payload, end: Behind the IPv4 header; behind the TCP or UDP header, if it is one; behind the packet.
        addresses: Source and destination.
    """

    protocol: int
    transport: int
    payload: int
    end: int
    addresses: bytes

    @property
    def pseudo_sum(self) -> int:
        """Word sum of the pseudo header (RFC 9293 section 3.1, RFC 768)."""
        return word_sum(self.addresses) + self.protocol + self.end - self.transport


def headers(data: bytes | bytearray) -> Headers | None:
    """The headers of an untagged IPv4 frame; None for any other, and for one whose lengths contradict each other."""
    if data[ETHERTYPE] != b"\x08\x00" or len(data) < NETWORK_AT + IPV4_BYTES:
        return None
    version, total, fragment, protocol, addresses = IPV4.unpack_from(data, NETWORK_AT)
    payload = transport = NETWORK_AT + 4 * (version & 15)
    end = NETWORK_AT + total
    if version >> 4 != 4 or not NETWORK_AT + IPV4_BYTES <= transport <= end <= len(data):
        return None
    if fragment & FRAGMENT_BITS:
        protocol = FRAGMENT
    elif protocol == UDP:
        payload += UDP_BYTES
    elif protocol == TCP:
        words = data[transport + 12] >> 4 if transport + TCP_BYTES <= end else 0
        if 4 * words < TCP_BYTES:
            return None
        payload += 4 * words
    return Headers(protocol, transport, payload, end, addresses) if payload <= end else None


def ipv4_ok(data: bytes, found: Headers) -> bool:
    """Whether the IPv4 header's checksum is right."""
    return word_sum(data[NETWORK_AT : found.transport]) % 0xFFFF == 0


def transport_ok(data: bytes, found: Headers) -> bool:
    """Whether the checksum of TCP or UDP is right, or UDP's sender made none; True for everything else."""
    protocol, transport, _, end, _ = found
    if protocol not in CHECKSUM_OFFSET or (protocol == UDP and data[transport + 6 : transport + 8] == b"\0\0"):
        return True
    if transport == NETWORK_AT + IPV4_BYTES:  # without options the addresses are right in front: one sum does
        return (word_sum(data[transport - ADDRESSES_BYTES : end]) + protocol + end - transport) % 0xFFFF == 0
    return (word_sum(data[transport:end]) + found.pseudo_sum) % 0xFFFF == 0


def complete_ipv4(data: bytearray, found: Headers) -> None:
    """Store the IPv4 header's checksum."""
    data[IPV4_CHECKSUM] = b"\0\0"
    data[IPV4_CHECKSUM] = checksum(word_sum(data[NETWORK_AT : found.transport])).to_bytes(2, "big")


def complete_transport(data: bytearray, found: Headers, *, mss: int = 0, shift: int = 0) -> VnetHeader | None:
    """Have the checksum of TCP or UDP completed, and TCP segmented, by whoever on the wire is first to need it.

    Args:
        data: The frame; what stands in the checksum field does not matter.
        found: Its headers, of TCP or UDP.
        mss: Bytes of payload that a segment takes; 0 for no segmentation, and the frame loses its Ethernet padding
            otherwise.
        shift: Bytes that are going to be inserted in front of the IPv4 header.

    Returns:
        The header that asks for it; None if there was a reason to do everything here.
    """
    start, offset = found.transport, CHECKSUM_OFFSET[found.protocol]
    field = slice(start + offset, start + offset + 2)
    if mss:
        del data[found.end :]
    elif any(data[found.end :]):  # a virtio-net header can only ask for a sum up to the frame's end
        data[field] = b"\0\0"
        total = checksum(word_sum(data[start : found.end]) + found.pseudo_sum)
        data[field] = (total or 0xFFFF).to_bytes(2, "big")  # the same number for TCP, reserved for UDP
        return None
    data[field] = (found.pseudo_sum % 0xFFFF).to_bytes(2, "big")
    large = mss and found.end - found.payload > mss
    return VnetHeader(
        flags=VnetFlag.NEEDS_CSUM,
        gso_type=GsoType.TCPV4 if large else GsoType.NONE,
        ecn=bool(large and data[start + FLAGS_OFFSET] & CWR),
        hdr_len=found.payload + shift if large else 0,
        gso_size=mss if large else 0,
        csum_start=start + shift,
        csum_offset=offset,
    )

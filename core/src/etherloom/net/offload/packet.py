"""Where a frame's headers end and its payload begins, from the frame alone.

Walks Ethernet, 802.1Q and 802.1ad tags, IPv4 with options or IPv6 with extension headers, then TCP or UDP, and refuses
what cannot be cut into segments: fragments, jumbograms, IPsec, tunnels. Every step is checked against the frame's
end and every chain is short, so that no frame costs more than its headers. Source routes in IPv4 options are not
followed: no host sends them any more (RFC 7126).
"""

from __future__ import annotations

import struct

import attrs

from etherloom.client import Frame
from etherloom.net.offload.checksum import word_sum
from etherloom.net.offload.header import MalformedOffload

__all__ = ["TCP", "UDP", "Packet", "parse"]

TCP = 6
UDP = 17

ETHERTYPE_AT = 12
ETHERTYPE_IPV4, ETHERTYPE_IPV6 = 0x0800, 0x86DD
ETHERTYPES_VLAN = (0x8100, 0x88A8)

HOP_BY_HOP, ROUTING, DESTINATION = 0, 43, 60  # the extension headers that every segment may repeat
ROUTING_LAST = {0: -16, 2: 8, 4: 8}  # routing type: where in the header the final destination stands

TAGS_MAX = 8  # VLAN_MAX_DEPTH of linux/if_vlan.h
EXTENSIONS_MAX = 8  # RFC 8200 section 4.1 recommends an order in which four that we accept can occur
HEADERS_MAX = 512  # repeated in every segment, so they bound how much longer the output is than the input

IPV4_BYTES, IPV6_BYTES, TCP_BYTES, UDP_BYTES = 20, 40, 20, 8
IPV4_FRAGMENT = 0x3FFF  # more-fragments bit and offset

U16 = struct.Struct(">H")
IPV4 = struct.Struct(">BxH2xHxB2x8s")
IPV6 = struct.Struct(">B3xHBx16s16s")


@attrs.frozen
class Packet:
    """Offsets from the frame's first byte.

    Attributes:
        network: The IP header.
        transport: The TCP or UDP header.
        payload: What segments share out among them.
        end: Behind the payload; Ethernet padding may follow.
        version: 4 or 6.
        pseudo_sum: Congruent to the word sum of the pseudo header without its length.
    """

    network: int
    transport: int
    payload: int
    end: int
    version: int
    pseudo_sum: int


def parse(frame: Frame, version: int | None, protocol: int) -> Packet:
    """Locate the headers of a TCP or UDP packet.

    Args:
        frame: One Ethernet frame without virtio-net header.
        version: 4 or 6, or None for what the frame says.
        protocol: TCP or UDP.

    Raises:
        MalformedOffload: The frame is something else, or its own lengths contradict each other.
    """
    network, ethertype = _untag(frame)
    if ethertype == ETHERTYPE_IPV4 and version != 6:
        version = 4
        transport, end, addresses = _ipv4(frame, network, protocol)
    elif ethertype == ETHERTYPE_IPV6 and version != 4:
        version = 6
        transport, end, addresses = _ipv6(frame, network, protocol)
    else:
        raise MalformedOffload(f"ethertype {ethertype:#06x} contradicts the gso_type")
    payload = transport + (_tcp_bytes(frame, transport, end) if protocol == TCP else UDP_BYTES)
    if payload > end or payload > HEADERS_MAX:
        raise MalformedOffload(f"headers of {payload} bytes in a packet that ends at {end}")
    return Packet(network, transport, payload, end, version, word_sum(addresses) + protocol)


def _untag(frame: Frame) -> tuple[int, int]:
    """Where the network header starts, and its ethertype."""
    for at in range(ETHERTYPE_AT, ETHERTYPE_AT + 4 * (TAGS_MAX + 1), 4):
        if at + 2 > len(frame):
            break
        (ethertype,) = U16.unpack_from(frame, at)
        if ethertype not in ETHERTYPES_VLAN:
            return at + 2, ethertype
    raise MalformedOffload("VLAN tags without end")


def _ipv4(frame: Frame, start: int, protocol: int) -> tuple[int, int, bytes]:
    """Transport header (for the caller to fit into the packet), end of packet, both addresses."""
    if start + IPV4_BYTES > len(frame):
        raise MalformedOffload("the IPv4 header does not fit")
    first, length, fragment, found, addresses = IPV4.unpack_from(frame, start)
    transport, end = start + (first & 0xF) * 4, start + length
    if first >> 4 != 4 or transport < start + IPV4_BYTES or end > len(frame):
        raise MalformedOffload(f"IPv4 version and header length {first:#04x}, total length {length}")
    if found != protocol or fragment & IPV4_FRAGMENT:
        raise MalformedOffload(f"IPv4 protocol {found}, fragment field {fragment:#06x}")
    return transport, end, addresses


def _ipv6(frame: Frame, start: int, protocol: int) -> tuple[int, int, bytes]:
    """The same, with the addresses as the pseudo header wants them (RFC 8200 section 8.1)."""
    at = start + IPV6_BYTES
    if at > len(frame):
        raise MalformedOffload("the IPv6 header does not fit")
    first, length, found, source, destination = IPV6.unpack_from(frame, start)
    end = at + length
    if first >> 4 != 6 or end > len(frame):
        raise MalformedOffload(f"IPv6 version {first >> 4}, payload length {length}")
    for _ in range(EXTENSIONS_MAX):
        if found not in (HOP_BY_HOP, ROUTING, DESTINATION):
            break
        if at + 8 > end:
            raise MalformedOffload("an IPv6 extension header does not fit")
        behind = at + 8 + frame[at + 1] * 8
        if found == ROUTING and frame[at + 3]:
            destination = _last_stop(bytes(frame[at:behind]))
        found, at = frame[at], behind
    if found != protocol:
        raise MalformedOffload(f"IPv6 next header {found}")
    return at, end, source + destination


def _last_stop(routing: bytes) -> bytes:
    """The destination that counts while a routing header has segments left (RFC 2460, RFC 6275, RFC 8754)."""
    at = ROUTING_LAST.get(routing[2])
    if at is None or len(routing) < 24:
        raise MalformedOffload(f"routing header of type {routing[2]} and {len(routing)} bytes")
    return routing[at:][:16]


def _tcp_bytes(frame: Frame, start: int, end: int) -> int:
    """The TCP header's length by its data offset."""
    if start + TCP_BYTES > end:
        raise MalformedOffload("the TCP header does not fit")
    size = (frame[start + 12] >> 4) * 4
    if size < TCP_BYTES:
        raise MalformedOffload(f"TCP header of {size} bytes")
    return size

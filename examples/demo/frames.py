"""Frames that the memory peer of the LAN asks NICs with (RFC 826, 791, 768); the kernel makes its own."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import attrs

from etherloom import Frame
from etherloom.net.offload.checksum import checksum, word_sum

__all__ = ["DATA", "ICMP", "UDP", "Station", "arp_request", "ipv4", "is_arp_request", "udp"]

DATA = 14 + 20  # where an IPv4 packet's data begins in its frame; nobody here sends options
ICMP, UDP = 1, 17
BROADCAST = b"\xff" * 6
IPV4_HEADER = struct.Struct("!BxHxxxxBBH4s4s")
TTL = 64


@attrs.frozen
class Station:
    """One end."""

    mac: bytes
    address: IPv4Address


def arp_request(source: Station, target: IPv4Address) -> bytes:
    """Who has `target`?"""
    asks = bytes.fromhex("0001 0800 06 04 0001")  # Ethernet, IPv4, the lengths of their addresses, a request
    body = asks + source.mac + source.address.packed + bytes(6) + target.packed
    return (BROADCAST + source.mac + b"\x08\x06" + body).ljust(60, b"\0")


def ipv4(source: Station, target: Station, protocol: int, data: bytes) -> bytes:
    """A packet in its frame."""
    ends = source.address.packed, target.address.packed
    header = IPV4_HEADER.pack(0x45, IPV4_HEADER.size + len(data), TTL, protocol, 0, *ends)
    header = IPV4_HEADER.pack(0x45, IPV4_HEADER.size + len(data), TTL, protocol, checksum(word_sum(header)), *ends)
    return target.mac + source.mac + b"\x08\x00" + header + data


def udp(source_port: int, target_port: int, data: bytes) -> bytes:
    """A datagram without a checksum, which RFC 768 allows."""
    return struct.pack("!HHHH", source_port, target_port, 8 + len(data), 0) + data


def is_arp_request(frame: Frame) -> bool:
    """Whether somebody asks for an address."""
    return frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1"

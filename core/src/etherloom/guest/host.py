"""A tiny IPv4 host on a driver: answers ARP, ICMP echo and UDP echo (RFC 826, 792, 862).

No TCP, no routing, no fragments.
Enough to ping a NIC model, and a partner for measurements: replies to the frames of one burst are transmitted together.
"""

from __future__ import annotations

import struct
from collections import deque
from ipaddress import IPv4Interface

from etherloom.guest.driver import NicDriver
from etherloom.net.offload.checksum import checksum, word_sum

__all__ = ["EchoHost"]

ARP = struct.Struct(">HHBBH6s4s6s4s")
ARP_IPV4 = (1, 0x0800, 6, 4)  # Ethernet, IPv4, their address lengths
ARP_REQUEST, ARP_REPLY = 1, 2
IPV4 = struct.Struct(">BBHHHBBH4s4s")
FRAGMENT = 0x3FFF
ICMP, UDP = 1, 17
ECHO_REQUEST = 8
UDP_ECHO_PORT = 7
BACKLOG_MAX = 256  # frames waiting for the transmit ring


class EchoHost:
    """One address.

    Args:
        driver: Open; its `deliver` becomes the host's.
        address: The host's address; its network is not used.

    Attributes:
        answered: Replies given.
        lost: Replies that found the backlog full.
    """

    def __init__(self, driver: NicDriver, address: IPv4Interface) -> None:
        self.driver, self.address = driver, address.ip.packed
        self.answered = self.lost = 0
        self._backlog: deque[bytes] = deque()
        driver.deliver = self.receive
        driver.guest.interrupt = self.interrupt

    def interrupt(self) -> None:
        """Let the driver work, then send what it gave rise to."""
        self.driver.interrupt()
        if self._backlog:
            frames = list(self._backlog)
            taken = self.driver.transmit(frames)
            self._backlog = deque(frames[taken:])

    def receive(self, frame: bytes) -> None:
        """One frame for us, or by multicast."""
        ethertype = frame[12:14]
        reply = None
        if ethertype == b"\x08\x00":
            reply = self._ipv4(frame)
        elif ethertype == b"\x08\x06":
            reply = self._arp(frame)
        if reply is None:
            return
        if len(self._backlog) >= BACKLOG_MAX:
            self.lost += 1
            return
        self.answered += 1
        self._backlog.append(reply)

    def _arp(self, frame: bytes) -> bytes | None:
        if len(frame) < 14 + ARP.size:
            return None
        *kind, operation, mac, ip, _, target = ARP.unpack_from(frame, 14)
        if tuple(kind) != ARP_IPV4 or operation != ARP_REQUEST or target != self.address:
            return None
        body = ARP.pack(*ARP_IPV4, ARP_REPLY, self.driver.mac, self.address, mac, ip)
        answer: bytes = mac + self.driver.mac + b"\x08\x06" + body
        return answer

    def _ipv4(self, frame: bytes) -> bytes | None:
        if len(frame) < 14 + IPV4.size:
            return None
        version, tos, total, ident, fragment, _, protocol, _, source, target = IPV4.unpack_from(frame, 14)
        start, end = 14 + 4 * (version & 15), 14 + total
        if version >> 4 != 4 or start < 34 or not start + 8 <= end <= len(frame):
            return None
        if fragment & FRAGMENT or target != self.address or word_sum(frame[14:start]) % 0xFFFF:
            return None
        answer = self._answer(protocol, source, frame[start:end])
        if answer is None:
            return None
        header = IPV4.pack(0x45, tos, 20 + len(answer), ident, 0, 64, protocol, 0, self.address, source)
        header = header[:10] + checksum(word_sum(header)).to_bytes(2, "big") + header[12:]
        return frame[6:12] + self.driver.mac + b"\x08\x00" + header + answer

    def _answer(self, protocol: int, source: bytes, data: bytes) -> bytes | None:
        """The answer to an echo request; None for anything else and for a wrong checksum."""
        if protocol == ICMP and data[0] == ECHO_REQUEST and not word_sum(data) % 0xFFFF:
            body = b"\0\0\0\0" + data[4:]
            return body[:2] + checksum(word_sum(body)).to_bytes(2, "big") + body[4:]
        if protocol == UDP and int.from_bytes(data[2:4], "big") == UDP_ECHO_PORT:
            pseudo = word_sum(self.address + source) + UDP + len(data)
            if data[6:8] != b"\0\0" and (word_sum(data) + pseudo) % 0xFFFF:
                return None
            body = data[2:4] + data[:2] + data[4:6] + b"\0\0" + data[8:]
            return body[:6] + (checksum(word_sum(body) + pseudo) or 0xFFFF).to_bytes(2, "big") + body[8:]
        return None

"""Makes the network in a file, pings the guest in it from the hub, and says what the driver did to the device.

    python ping.py lab.toml

A program of its own that embeds Etherloom: it needs no privilege, and time is virtual, so it is done at once.
"""

from __future__ import annotations

import struct
import sys
from collections import Counter
from pathlib import Path

from etherloom.config import toml
from etherloom.config.apply import Loom
from etherloom.device import NicModel
from etherloom.device.trace import Summary, Trace
from etherloom.net.offload.checksum import checksum, word_sum
from etherloom.plugins.registry import Registry
from etherloom.testing import MemoryPeer, VirtualLoop

MAC, IP = bytes.fromhex("020000000001"), bytes((10, 0, 2, 2))
GUEST_IP = bytes((10, 0, 2, 15))
PINGS = 10


def arp_request() -> bytes:
    """Who has the guest's address? (RFC 826)"""
    body = struct.pack(">HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, MAC, IP, bytes(6), GUEST_IP)
    return b"\xff" * 6 + MAC + b"\x08\x06" + body


def echo(kind: int, number: int, target: bytes, source: bytes, target_ip: bytes, source_ip: bytes) -> bytes:
    """An ICMP echo request (8) or its reply (0), RFC 792."""
    message = struct.pack(">BBHHH", kind, 0, 0, 1, number) + bytes(range(48))
    message = message[:2] + checksum(word_sum(message)).to_bytes(2, "big") + message[4:]
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(message), number, 0, 64, 1, 0, source_ip, target_ip)
    header = header[:10] + checksum(word_sum(header)).to_bytes(2, "big") + header[12:]
    return target + source + b"\x08\x00" + header + message


def shown(counts: Counter[str]) -> str:
    """`STATUS 2, RX_HEAD 1`."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def main(path: Path) -> str:
    """What is to be printed; SystemExit if the guest does not answer."""
    registry, loop = Registry.discover(), VirtualLoop()
    loom = Loom(registry, loop, clock=loop.clock)
    loom.apply(toml.load(path, registry))
    nic = loom.network.clients["n0"]
    assert isinstance(nic, NicModel)
    station = MemoryPeer("station", loom.network.context)
    loom.network.add(station, loom.network.clients["p1"])

    station.send_all([arp_request()])
    loop.run_until_idle()
    if not station.received:
        sys.exit("nobody answers")
    guest = station.received.pop()[6:12]

    summary = Summary()
    Trace(nic, summary)
    station.send_all(echo(8, number, guest, MAC, GUEST_IP, IP) for number in range(PINGS))
    loop.run_until_idle()
    replies = [echo(0, number, MAC, guest, IP, GUEST_IP) for number in range(PINGS)]
    right = sum(came == expected for came, expected in zip(station.received, replies, strict=False))
    report = (
        f"{nic.kind} at {guest.hex(':')}: {PINGS} pings, {right} answers\n"
        f"registers read: {shown(summary.reads)}\n"
        f"registers written: {shown(summary.writes)}\n"
        f"interrupts: {summary.interrupts}"
    )
    loom.close()
    loop.close()
    return report


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))

"""What descriptors say about checksums and large send, in terms of `etherloom.device.offload`."""

from __future__ import annotations

from typing import Final

from etherloom.device import offload as ip
from etherloom.net.offload import VnetHeader

__all__ = ["IPCS", "LGSEN", "TCPCS", "UDPCS", "finish", "verdict"]

# Transmit: what to do.
LGSEN: Final = 1 << 27
IPCS: Final = 1 << 18
UDPCS: Final = 1 << 17
TCPCS: Final = 1 << 16
MSS_SHIFT: Final = 16
MSS_MASK: Final = 0x7FF
MSS_MIN: Final = 64  # below it a 64 KiB frame would leave as more than a thousand segments (S-6)
WANTED = {ip.TCP: TCPCS, ip.UDP: UDPCS}

# Receive: what the frame is, and which checksum is wrong.
PID: Final = {ip.TCP: 1 << 16, ip.UDP: 2 << 16}
PID_IP: Final = 3 << 16
IPF: Final = 1 << 15
FAILED = {ip.TCP: 1 << 13, ip.UDP: 1 << 14}


def verdict(data: bytes) -> int:
    """Protocol and checksum bits for a received frame. Differs from QEMU (R-57): there are some."""
    found = ip.headers(data)
    if found is None:
        return 0
    status = PID.get(found.protocol, PID_IP) | (0 if ip.ipv4_ok(data, found) else IPF)
    return status if ip.transport_ok(data, found) else status | FAILED[found.protocol]


def finish(data: bytearray, command: int, shift: int) -> VnetHeader | None:
    """Do what a transmit descriptor asks for, or have it done on the wire; a frame with anything odd stays as it is.

    Differs from QEMU (R-59): a UDP checksum of zero leaves as FFFF, and a fragment gets no transport checksum.
    Differs from QEMU (R-60): FIN and PSH stay on the last segment, CWR on the first, and a large send without payload
    leaves as one frame.

    Args:
        data: The frame, changed in place.
        command: The last descriptor's first word.
        shift: Bytes that are going to be inserted in front of the network header.
    """
    found = ip.headers(data)
    if found is None:
        return None
    mss = command >> MSS_SHIFT & MSS_MASK if command & LGSEN else 0
    if command & LGSEN and (not mss or found.protocol != ip.TCP):
        return None
    if mss or command & IPCS:
        ip.complete_ipv4(data, found)
    if mss:
        return ip.complete_transport(data, found, mss=max(mss, MSS_MIN), shift=shift)
    return ip.complete_transport(data, found, shift=shift) if command & WANTED.get(found.protocol, 0) else None

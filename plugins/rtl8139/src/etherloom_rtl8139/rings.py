"""Descriptor rings of C+ mode (RTL8139C+ and RTL8169 descriptor pages).

A descriptor is 16 bytes: command and status, VLAN word, buffer address. It is read once, into a local copy, and decided
upon from that copy; only the first two words are written back (CVE class of R-87).
"""

from __future__ import annotations

import struct
from typing import Final

from etherloom.device import Dma

__all__ = ["DESCRIPTOR_BYTES", "EOR", "FS", "LS", "OWN", "RING_MAX", "Ring"]

# Plain integers: the data path combines them for every frame, and an IntFlag costs ten times as much.
OWN: Final = 1 << 31
EOR: Final = 1 << 30
FS: Final = 1 << 29
LS: Final = 1 << 28

# Differs from QEMU: after 64 descriptors comes the first, end-of-ring mark or not, on reception too.
RING_MAX: Final = 64
DESCRIPTOR_BYTES: Final = 16
LAST: Final = (RING_MAX - 1) * DESCRIPTOR_BYTES

DESCRIPTOR = struct.Struct("<IIQ")
STATUS = struct.Struct("<II")


class Ring:
    """One ring, and where the chip is in it.

    Attributes:
        base: Guest address, 256-byte aligned; 0 means that the driver has not set it.
        next: Guest address of the descriptor that is next.
    """

    __slots__ = ("_dma", "base", "next")

    def __init__(self, dma: Dma) -> None:
        self._dma = dma
        self.base = self.next = 0

    def restart(self, base: int) -> None:
        """Start at the first descriptor of the ring at `base`."""
        self.base = self.next = base & ~0xFF

    def fetch(self, address: int) -> tuple[int, int, int]:
        """A descriptor: command, VLAN word, buffer address.

        Raises:
            DmaError: It is not in guest RAM.
        """
        return DESCRIPTOR.unpack(self._dma.read(address, DESCRIPTOR_BYTES))

    def after(self, address: int, command: int) -> int:
        """Where the descriptor lies that follows the one at `address` with this command."""
        return self.base if command & EOR or address - self.base >= LAST else address + DESCRIPTOR_BYTES

    def give_back(self, address: int, command: int, vlan: int) -> None:
        """Return a descriptor to the driver: both words in one store, for the driver polls the one with OWN.

        Raises:
            DmaError: It is not in writable guest RAM.
        """
        self._dma.write(address, STATUS.pack(command, vlan))

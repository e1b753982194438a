"""Descriptor rings of C+ mode (RTL8139C+ and RTL8169 descriptor pages).

A descriptor is 16 bytes: command and status, VLAN, buffer address. It is read once, into a local copy, and decided
upon from that copy; only the first two words are written back.
"""

from __future__ import annotations

import struct
from typing import Final

from etherloom.device import Dma

__all__ = ["EOR", "FS", "LS", "OWN", "RING_MAX", "Ring"]

# Plain integers: the data path combines them for every frame, and an IntFlag costs ten times as much.
OWN: Final = 1 << 31
EOR: Final = 1 << 30
FS: Final = 1 << 29
LS: Final = 1 << 28

RING_MAX = 64  # the index returns to 0 after 64 descriptors, end-of-ring mark or not
DESCRIPTOR_BYTES = 16

DESCRIPTOR = struct.Struct("<IIQ")
STATUS = struct.Struct("<II")
BASE_MASK = ~0xFF


class Ring:
    """Base and index of one ring.

    Attributes:
        base: Guest address, 256-byte aligned; 0 means that the driver has not set it.
        index: The descriptor that is next.
    """

    __slots__ = ("_dma", "base", "index")

    def __init__(self, dma: Dma) -> None:
        self._dma = dma
        self.base = self.index = 0

    def restart(self, base: int) -> None:
        """Start at the first descriptor of the ring at `base`."""
        self.base, self.index = base & BASE_MASK, 0

    def fetch(self) -> tuple[int, int, int]:
        """The next descriptor: command, VLAN word, buffer address.

        Raises:
            DmaError: It is not in guest RAM.
        """
        return DESCRIPTOR.unpack(self._dma.read(self.base + self.index * DESCRIPTOR_BYTES, DESCRIPTOR_BYTES))

    def address(self) -> int:
        """Where the next descriptor lies."""
        return self.base + self.index * DESCRIPTOR_BYTES

    def advance(self, command: int) -> None:
        """Go on to the descriptor after one with this command."""
        self.index = 0 if command & EOR or self.index == RING_MAX - 1 else self.index + 1

    def give_back(self, address: int, command: int, vlan: int) -> None:
        """Return a descriptor to the driver: both words in one store, for the driver polls the one with OWN.

        Raises:
            DmaError: It is not in writable guest RAM.
        """
        self._dma.write(address, STATUS.pack(command, vlan))

"""Which frames the receiver accepts: RCR, IDR and the multicast hash."""

from __future__ import annotations

from typing import Final
from zlib import crc32

from etherloom_rtl8139.registers import ReceiveConfig

__all__ = ["BAR", "MAR", "PAM", "AddressFilter", "hash_bit"]

MAR: Final = 1 << 26  # as in a receive descriptor's status
PAM: Final = 1 << 25
BAR: Final = 1 << 24

BROADCAST = b"\xff" * 6
CACHE_MAX = 256  # stations on one segment; forgotten all at once beyond that


def hash_bit(address: bytes) -> int:
    """The bit of MAR that an address selects: the top 6 bits of its Ethernet CRC, MSB first and not inverted."""
    crc = crc32(address) ^ 0xFFFFFFFF  # reflected: bit 0 is the polynomial's highest
    return int(f"{crc & 0x3F:06b}"[::-1], 2)


class AddressFilter:
    """The decision for each destination address, remembered until a register that it depends on is written."""

    def __init__(self) -> None:
        self._known: dict[bytes, int | None] = {}
        self._accept = self._multicast = 0
        self._station = b""

    def configure(self, accept: int, station: bytes, multicast: int) -> None:
        """New values of RCR's accept bits, IDR and MAR (bit 8n+m is bit m of byte n)."""
        self._accept, self._station, self._multicast = accept, station, multicast
        self._known.clear()

    def match(self, destination: bytes) -> int | None:
        """Status bits for a frame to this address; None if it is not accepted."""
        try:
            return self._known[destination]
        except KeyError:
            if len(self._known) >= CACHE_MAX:
                self._known.clear()
            status = self._known[destination] = self._decide(destination)
            return status

    def _decide(self, destination: bytes) -> int | None:
        # Differs from QEMU: the kind of address is told in promiscuous mode too.
        kind, bit = 0, ReceiveConfig.AAP
        if destination == BROADCAST:
            kind, bit = BAR, bit | ReceiveConfig.AB
        elif destination[0] & 1:
            hit = self._multicast >> hash_bit(destination) & 1
            kind, bit = MAR, bit | ReceiveConfig.AM if hit else bit
        elif destination == self._station:
            kind, bit = PAM, bit | ReceiveConfig.APM
        return kind if self._accept & bit else None

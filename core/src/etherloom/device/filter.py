"""Which frames a chip with a station address and a 64-bit multicast hash accepts.

The hash is that of DP8390, Tulip, RTL8139 and their kin: the top six bits of the address's Ethernet CRC.
"""

from __future__ import annotations

from zlib import crc32

__all__ = ["AddressFilter", "hash_bit"]

BROADCAST = b"\xff" * 6
CACHE_MAX = 256  # stations on one segment; forgotten all at once beyond that


def hash_bit(address: bytes) -> int:
    """The bit that an address selects: the CRC's top 6 bits, in its MSB-first form and not inverted."""
    crc = crc32(address) ^ 0xFFFFFFFF  # reflected: bit 0 is the polynomial's highest
    return int(f"{crc & 0x3F:06b}"[::-1], 2)


class AddressFilter:
    """The decision for each destination address, remembered until the configuration changes.

    Args:
        broadcast, multicast, station: What `match` returns for an address of that kind, as a chip reports it.
    """

    def __init__(self, *, broadcast: int = 0, multicast: int = 0, station: int = 0) -> None:
        self._kinds = broadcast, multicast, station
        self._known: dict[bytes, int | None] = {}
        self.configure(bytes(6))

    def configure(
        self,
        address: bytes,
        *,
        hashes: int = 0,
        broadcast: bool = False,
        multicast: bool = False,
        station: bool = False,
        everything: bool = False,
    ) -> None:
        """What to accept from now on.

        Args:
            address: The station's.
            hashes: Bit n accepts multicast addresses with that hash.
            broadcast, multicast, station: Whether to accept that kind, multicast by its hash.
            everything: Promiscuous; a frame is still of its kind.
        """
        self._address, self._hashes, self._everything = address, hashes, everything
        self._accept = broadcast, multicast, station
        self._known.clear()

    def match(self, destination: bytes) -> int | None:
        """The kind of an address of 6 bytes, 0 for somebody else's; None if it is not accepted."""
        try:
            return self._known[destination]
        except KeyError:
            if len(self._known) >= CACHE_MAX:
                self._known.clear()
            kind = self._known[destination] = self._decide(destination)
            return kind

    def _decide(self, destination: bytes) -> int | None:
        broadcast, multicast, station = self._kinds
        if destination == BROADCAST:
            kind, wanted = broadcast, self._accept[0]
        elif destination[0] & 1:
            kind, wanted = multicast, self._accept[1] and bool(self._hashes >> hash_bit(destination) & 1)
        elif destination == self._address:
            kind, wanted = station, self._accept[2]
        else:
            kind, wanted = 0, False
        return kind if wanted or self._everything else None

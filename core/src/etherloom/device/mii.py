"""The registers of an MII PHY (IEEE 802.3 clause 22) with one fixed ability: 100 Mbit/s full duplex, negotiated.

Models what a driver can see of a PHY on a virtual wire: link and negotiation are instantaneous, the partner can do what
we can. It does not model MDIO framing, and knows no time.
"""

from __future__ import annotations

from enum import IntFlag

__all__ = ["Bmcr", "Bmsr", "MiiPhy"]


class Bmcr(IntFlag):
    """Basic mode control (register 0)."""

    RESET = 0x8000
    LOOPBACK = 0x4000
    SPEED_100 = 0x2000
    AUTONEG = 0x1000
    POWER_DOWN = 0x0800
    ISOLATE = 0x0400
    RESTART = 0x0200
    FULL_DUPLEX = 0x0100


class Bmsr(IntFlag):
    """Basic mode status (register 1)."""

    ABILITIES = 0x7800  # 10 and 100 Mbit/s, half and full duplex
    PREAMBLE_SUPPRESSION = 0x0040
    AUTONEG_DONE = 0x0020
    AUTONEG_ABLE = 0x0008
    LINK = 0x0004
    EXTENDED = 0x0001


class MiiPhy:
    """Link and negotiation, as values of the registers that show them.

    Args:
        bmcr: After reset.
        bmsr: The abilities that are always set.
        advertised: ANAR after reset.
        partner: ANLPAR while there is a link.
    """

    def __init__(
        self,
        *,
        bmcr: int = Bmcr.AUTONEG | Bmcr.FULL_DUPLEX,
        bmsr: int = Bmsr.ABILITIES | Bmsr.AUTONEG_ABLE | Bmsr.EXTENDED,
        advertised: int = 0x01E1,
        partner: int = 0x45E1,
    ) -> None:
        self._bmcr, self._bmsr, self._advertised, self._partner = int(bmcr), int(bmsr), advertised, partner
        self.link = True
        self.reset()

    def reset(self) -> None:
        """Control and advertisement to their reset values; the link stays."""
        self.bmcr, self.anar = self._bmcr, self._advertised

    @property
    def bmsr(self) -> int:
        """Status: link, and with a link negotiation done, unless it is switched off."""
        if not self.link:
            return self._bmsr
        done = Bmsr.AUTONEG_DONE if self.bmcr & Bmcr.AUTONEG else 0
        return self._bmsr | Bmsr.LINK | done

    @property
    def anlpar(self) -> int:
        """What the partner advertises; zero without a link or negotiation."""
        return self._partner if self.link and self.bmcr & Bmcr.AUTONEG else 0

    @property
    def aner(self) -> int:
        """Expansion: the partner negotiates."""
        return 0x0001 if self.anlpar else 0

    def write_bmcr(self, value: int) -> None:
        """A guest's write to BMCR: reset and restart clear by themselves at once."""
        if value & Bmcr.RESET:
            self.reset()
        else:
            self.bmcr = value & ~Bmcr.RESTART & 0xFFFF

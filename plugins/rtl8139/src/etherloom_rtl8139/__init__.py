"""NIC model `rtl8139`: Realtek's RTL8139C+, driven by Linux's 8139cp, iPXE and FreeBSD's re(4)."""

from __future__ import annotations

from pathlib import Path

import attrs

from etherloom import Context, NetClient, NicModelKind
from etherloom.config.mac import Mac
from etherloom.config.options import option
from etherloom_rtl8139.driver import Rtl8139Driver
from etherloom_rtl8139.model import Rtl8139
from etherloom_rtl8139.receive import Overflow

__all__ = ["KIND", "Overflow", "Rtl8139", "Rtl8139Driver", "Rtl8139Options"]


@attrs.frozen(kw_only=True)
class Rtl8139Options:
    """Options of `rtl8139`, beside those that every NIC has."""

    netdev: str | None = option(default=None, help="id of the backend to connect to")
    mac: Mac = option(help="station address")
    overflow: Overflow = option(
        default=Overflow.HOLD,
        help="a full receive ring holds the source back for up to 100 ms, or drops as the chip",
    )
    mitigation: bool = option(
        default=True,
        help="interrupt for a few sent frames with the next reason to, within 0.2 ms (2 while ROK is masked)",
    )
    eeprom: Path | None = option(default=None, help="file to keep the EEPROM in; its address then wins over mac")
    vpd: bool = option(default=False, help="a new EEPROM claims product data: iPXE then starts faster, keeping nothing")


def init(options: Rtl8139Options, name: str, peer: NetClient | None, context: Context) -> Rtl8139:
    """Make the device; a guest bus attaches it to a guest."""
    return Rtl8139(
        name,
        context,
        mac=options.mac.octets,
        overflow=options.overflow,
        mitigation=options.mitigation,
        eeprom=options.eeprom,
        vpd=options.vpd,
    )


KIND = NicModelKind(
    kind="rtl8139",
    options=Rtl8139Options,
    init=init,
    summary="Realtek RTL8139C+ Fast Ethernet",
    driver=Rtl8139Driver,
)

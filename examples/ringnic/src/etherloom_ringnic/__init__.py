"""NIC model `ringnic`: a device that nobody ever built, for reading, and as the start of yours."""

from __future__ import annotations

import attrs

from etherloom import Context, NetClient, NicModelKind
from etherloom.config.mac import Mac
from etherloom.config.options import option
from etherloom_ringnic.driver import RingNicDriver
from etherloom_ringnic.model import RingNic

__all__ = ["KIND", "RingNic", "RingNicDriver", "RingNicOptions"]


@attrs.frozen(kw_only=True)
class RingNicOptions:
    """What a config may say about a `ringnic`."""

    netdev: str | None = option(default=None, help="id of the backend to connect to")
    mac: Mac = option(help="station address")


def init(options: RingNicOptions, name: str, peer: NetClient | None, context: Context) -> RingNic:
    """Make the device; a guest bus attaches it to a guest."""
    return RingNic(name, context, mac=options.mac.octets)


KIND = NicModelKind(kind="ringnic", options=RingNicOptions, init=init, summary="the example NIC", driver=RingNicDriver)

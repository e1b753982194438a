"""Kind `hubport`: one port of a flooding segment (O-140, O-141, C-60 to C-68).

A hub is its source's `send`, so a port has no data path: it joins a segment of core's, and the wiring floods past it.
It does not learn addresses and drops nothing: reserved multicast (LACP, STP, LLDP) passes too, which a Linux bridge
keeps to itself (U-15). A ring of hubs is refused when it is wired; QEMU accepts it and dies of the first frame (C-66).
"""

from __future__ import annotations

import attrs

from etherloom import Context, NetClient, NetClientKind
from etherloom.config.options import option

__all__ = ["KIND", "HubPort", "HubPortOptions"]


@attrs.frozen(kw_only=True)
class HubPortOptions:
    """Options of `hubport`."""

    hubid: int = option(help="number of the hub; it is made on first use")
    netdev: str | None = option(default=None, help="id of the backend to plug in; without it the port waits for one")


class HubPort(NetClient):
    """A port of hub `hubid`."""

    def __init__(self, name: str, context: Context, hubid: int) -> None:
        super().__init__(name, context)
        self.segment = context.segment(hubid)

    @property
    def info(self) -> str:
        """The hub it belongs to."""
        return f"{self.segment}"


def init(options: HubPortOptions, name: str, peer: NetClient | None, context: Context) -> HubPort:
    """Make a port; core connects it to `peer`."""
    return HubPort(name, context, options.hubid)


KIND = NetClientKind(kind="hubport", options=HubPortOptions, init=init, summary="a port of a flooding hub")

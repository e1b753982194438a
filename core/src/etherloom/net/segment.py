"""A flooding segment: what a hub is to the wiring.

A hub is not a receiver. Its ports are clients that carry a `segment`; a frame from the peer of one port goes to the
peers of all others, in the source's own `send` (`etherloom.net.paths`). Ports of two segments that are each other's
peers patch the segments together (C-66); the wiring refuses a patch that would close a ring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etherloom.client import NetClient

__all__ = ["Segment"]


class Segment:
    """One hub. `ports` are its hub ports in the network, newest first: the order in which QEMU floods (C-60)."""

    __slots__ = ("hubid", "ports")

    def __init__(self, hubid: int) -> None:
        self.hubid = hubid
        self.ports: list[NetClient] = []

    def __repr__(self) -> str:
        return f"hub {self.hubid}"

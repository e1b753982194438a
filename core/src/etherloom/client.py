"""The net client: the whole data-path contract on one page.

A client has at most one peer. It hands frames to `self.send`, which the wiring keeps pointed at the right place, and
gets frames through `receive`. Here is a complete one, which returns every frame to its sender::

    class Echo(NetClient):
        def receive(self, frame: Frame) -> bool:
            self.send(bytes(frame))
            return True

**A frame** is one buffer, `bytes` or a read-only `memoryview`, holding one Ethernet frame without FCS, 14 to 69,632
bytes. It is borrowed until the call returns; who keeps it copies it. A client with `vnet = True` sends and receives
each frame with a 10-byte virtio-net header in front, in the same buffer; one without never sees a header.

**Rules.** `send` always takes the frame. When it returns False the client pauses until its `resume` is called; what it
sends all the same is queued, and beyond the queue's limit dropped and counted. `receive` returns True when it is done
with the frame and False when it cannot take it now; then the network keeps a copy, offers it again after the client's
`flush()`, and lets no newer frame overtake. A source reads `self.send` once per burst, never keeps it longer, and says
`self.end_burst()` when the burst is over. What the context calls runs in a burst; a coroutine of a client's own sends
inside `with self.context.network.burst():`, so that nothing is rewired under a frame on its way. Every call into a
client comes from the loop's one thread, and an exception that leaves it takes that client down and nobody else.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntFlag
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from etherloom.counters import Counters, Drop

if TYPE_CHECKING:
    from etherloom.context import Context
    from etherloom.net.inlet import Inlet
    from etherloom.net.segment import Segment

__all__ = ["FRAME_MAX", "FRAME_MIN", "FRAME_PAD", "VNET_HEADER_BYTES", "Frame", "NetClient", "Offload"]

Frame: TypeAlias = bytes | memoryview

FRAME_MIN = 14  # an Ethernet header and nothing else
FRAME_PAD = 60  # what taps and NIC models pad to: Ethernet's 64-byte minimum less the FCS (C-43)
FRAME_MAX = 69632  # 64 KiB + 4096, QEMU's limit for one frame (C-31)
VNET_HEADER_BYTES = 10  # struct virtio_net_hdr, virtio 1.2 section 5.1.6, without num_buffers


class Offload(IntFlag):
    """What the receivers of a client's frames leave undone for it; the bits of linux/if_tun.h's TUN_F_*."""

    CSUM = 0x01
    TSO4 = 0x02
    TSO6 = 0x04
    TSO_ECN = 0x08
    USO4 = 0x20
    USO6 = 0x40

    ALL = CSUM | TSO4 | TSO6 | TSO_ECN | USO4 | USO6


class NetClient:
    """Base class of every endpoint. Subclass it, override `receive`, and whatever else applies.

    Args:
        name: Unique in the network; the config's id, or a generated one (C-05).
        context: The client's way to the loop, the clock and the network. The client keeps it.

    Attributes:
        is_nic: True for the guest's side of a wire; link state and start-up warnings depend on it (C-50).
        segment: Set by a hub port to the segment it belongs to. Such a client is never sent a frame:
            the network floods past it (`etherloom.net.paths`).
        vnet: Frames carry a virtio-net header. Fixed once `init` has returned.
        accepts: What `receive` takes unfinished, with `vnet`; a NIC that can segment may be unable to take what others
            have not segmented. Fixed likewise.
        send: `send(frame) -> bool`. Set by the wiring; False means pause until `resume`.
        end_burst: `end_burst() -> None`. Set by the wiring; tells the receivers that the burst is over.
        shortcut: Something faster that may stand in for `receive`, such as a file's own `write`: it either takes the
            whole frame and returns something true, or has no effect at all and returns something false or raises,
            whereupon `receive` is called with the frame. None for most. Fixed like `vnet`.
        link_up: Whether frames may pass. Changed through `Network.set_link` or `set_carrier` only.
        counters: See `etherloom.counters`; read through `Network.counters`, which settles them first.
        failure: The exception that took the client down, or None.
    """

    is_nic: ClassVar[bool] = False

    send: Callable[[Frame], bool]
    end_burst: Callable[[], None]

    def __init__(self, name: str, context: Context) -> None:
        self.name = name
        self.context = context
        self.kind = ""
        self.peer: NetClient | None = None
        self.segment: Segment | None = None
        self.vnet = False
        self.accepts = Offload.ALL
        self.shortcut: Callable[[Frame], object] | None = None
        self.link_up = True
        self.counters = Counters()
        self.failure: BaseException | None = None
        self._inlet: Inlet | None = None  # made when the network adds the client
        self._paused = False
        self._offload: Offload | None = None

    # What a client overrides -------------------------------------------------------------------------------------

    def receive(self, frame: Frame) -> bool:
        """Take one frame from the peer.

        Args:
            frame: One frame, read-only, borrowed until return.

        Returns:
            True: used, or dropped and counted by `drop`. False: not taken, offer it again after `flush()`.

        May call `send`. Must not block.
        """
        self.drop(Drop.REFUSED)
        return True

    def burst_ended(self) -> None:
        """The sender's burst is over: write out what was gathered, raise one interrupt."""

    def resume(self) -> None:
        """`send` takes frames again after it returned False. Also called after a rewire; harmless when not paused."""

    def link_changed(self) -> None:
        """`link_up` of this client, or of its peer, was set (C-50: also when it did not change)."""

    def set_offload(self, offload: Offload) -> None:
        """The wire settled: what this client may leave undone in the frames it sends. Called when it changes.

        Only a client with `vnet = True` is told. Frames sent under the old setting are completed by the network.
        """

    async def start(self) -> None:
        """What may take long: scripts, look-ups, connecting. Runs once the network is wired; `info` tells the state.

        A `HostError` or `ConfigError` raised here takes the client down like any other exception.
        """

    def close(self) -> None:
        """Release everything. Called exactly once, also after a failure; fd watches, halves and timers that the
        context gave out are already gone."""

    @property
    def info(self) -> str:
        """What is special about this client, for tables (M-11): `ifname=tap0`. At most one line."""
        return ""

    # What a client calls -----------------------------------------------------------------------------------------

    def flush(self) -> None:
        """The client can receive again: offer what is queued, in order, from a bottom half (C-38)."""
        if self._inlet is not None:
            self._inlet.flush()

    def drop(self, reason: Drop, frames: int = 1) -> None:
        """Count frames this client lost, in either direction."""
        self.counters.drop(reason, frames)

    def set_carrier(self, up: bool) -> None:
        """The client's own far end came or went: a stream connected, a cable was pulled (C-55, U-01)."""
        self.context.network.set_carrier(self, up)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

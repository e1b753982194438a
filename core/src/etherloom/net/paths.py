"""What a client's `send` is: one function per situation, made when the situation changes.

    no peer, link down      `lost`         counts and returns
    one receiver, same form `direct`       straight into `receive`, through a two-port hub too
    several receivers       `flood`        each in turn; the busy ones keep the frame in their queues
    header to be taken off  `completing`   finishes checksums and segments, then one of the above

A path asks nothing of the topology: what could change it makes the network build another (`etherloom.net.network`).
It asks one flag, its receiver's `shut`, which stands for every reason not to deliver at once.

Differs from QEMU (C-30, C-32): there each send looks at link, peer, filters and queue, and each delivery at
`can_receive`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from etherloom.client import FRAME_MAX, FRAME_MIN, VNET_HEADER_BYTES, Frame, NetClient
from etherloom.counters import Drop
from etherloom.net.inlet import Inlet, inlet_of
from etherloom.net.offload import MalformedOffload, complete

__all__ = ["Send", "Tally", "Watcher", "burst_end", "completing", "direct", "flood", "lost", "watched"]

Send = Callable[[Frame], bool]
Watcher = Callable[[Frame], None]

NO_OFFLOAD = bytes(VNET_HEADER_BYTES)


class Tally:
    """Frames and octets (as they lie in the buffer) that went down one path since it was last settled."""

    __slots__ = ("frames", "octets")

    def __init__(self) -> None:
        self.frames = self.octets = 0


def nothing() -> None:
    """The `end_burst` of a client whose receivers do not care."""


def lost(source: NetClient, reason: Drop) -> Send:
    """No way out: every frame is dropped and counted at the source."""
    counters = source.counters

    def send(frame: Frame) -> bool:
        counters.drop(reason)
        return True

    return send


def _refuse(source: NetClient, size: int) -> bool:
    """Drop a frame of impossible length (C-31; QEMU has no lower limit and wedges at zero, C-45)."""
    source.counters.drop(Drop.SHORT if size < FRAME_MIN else Drop.GIANT)
    return True


def direct(source: NetClient, inlet: Inlet, tally: Tally, header_bytes: int) -> Send:
    """One receiver that takes frames in the form in which the source makes them.

    `tally` counts for both ends; a frame that is not simply taken is counted by the source here and by the inlet there.
    """
    shortcut = inlet.client.shortcut
    receive = shortcut or inlet.client.receive
    counters = source.counters
    low, high = FRAME_MIN + header_bytes, FRAME_MAX + header_bytes

    def send(frame: Frame) -> bool:
        size = len(frame)
        if not low <= size <= high:
            return _refuse(source, size - header_bytes)
        if inlet.shut:
            taken = inlet.hold(frame, source)
        else:
            inlet.shut = True
            try:
                answer = receive(frame)
            except Exception as error:
                taken = inlet.reconsider(frame, source) if shortcut else inlet.failed(error)
            else:
                inlet.shut = inlet.pending
                if answer:
                    tally.frames += 1
                    tally.octets += size
                    return True
                taken = inlet.reconsider(frame, source) if shortcut else inlet.refused(frame, source, answer)
        counters.tx_frames += 1
        counters.tx_bytes += size - header_bytes
        if not taken:
            inlet.wait(source)
        return taken

    return send


def flood(source: NetClient, inlets: Sequence[Inlet], headed: Sequence[Inlet], tally: Tally, header_bytes: int) -> Send:
    """Every receiver but the source itself; it pauses only when none took the frame (C-62).

    What the source sends from inside its `receive` goes through the queues: a crowd of clients that answer each other
    at once would otherwise be as many calls deep.

    Args:
        source: Skipped where it stands among the receivers, so that all sources of a segment share two tuples.
        inlets: Receivers in the source's form.
        headed: Receivers that want a virtio-net header where the source makes none.
        tally: Counts each frame once, whatever becomes of it behind the doors.
        header_bytes: Of the source's form.
    """
    own = inlet_of(source)
    low, high = FRAME_MIN + header_bytes, FRAME_MAX + header_bytes

    def send(frame: Frame) -> bool:
        size = len(frame)
        if not low <= size <= high:
            return _refuse(source, size - header_bytes)
        tally.frames += 1
        tally.octets += size
        if own.shut and not own.pending:  # shut by nothing but its delivery
            frame, offer = bytes(frame), Inlet.hold
        else:
            offer = Inlet.offer
        taken = False
        for inlet in inlets:
            if inlet is own:
                continue
            if inlet.shut:
                frame = bytes(frame)  # one copy for all the queues
            if offer(inlet, frame, source):
                taken = True
        if headed:
            frame = b"".join((NO_OFFLOAD, frame))
            for inlet in headed:
                if inlet is not own and offer(inlet, frame, source):
                    taken = True
        if not taken:
            for inlet in (*inlets, *headed):
                if inlet is not own:
                    inlet.wait(source)
        return taken

    return send


def completing(source: NetClient, onward: Send, *, keep_header: bool, checksums: bool) -> Send:
    """Do in software what the header asks for and the receivers do not; segments keep their order, also into a queue.

    Args:
        source: Speaks vnet.
        onward: Where finished frames go, in the form of the cell.
        keep_header: The cell speaks vnet: finished frames keep a header, which then asks for nothing.
        checksums: The receivers finish checksums themselves.
    """
    counters = source.counters
    start = 0 if keep_header else VNET_HEADER_BYTES

    def send(frame: Frame) -> bool:
        size = len(frame) - VNET_HEADER_BYTES
        if not FRAME_MIN <= size <= FRAME_MAX:
            return _refuse(source, size)
        if not frame[1] and (checksums or not frame[0]):  # byte 0: flags, byte 1: segmentation
            return onward(frame[start:])
        try:
            finished = complete(frame)
        except MalformedOffload:
            counters.drop(Drop.MALFORMED)
            return True
        taken = True
        for segment in finished:
            taken = onward(b"".join((NO_OFFLOAD, segment)) if keep_header else segment)
        return taken

    return send


def watched(onward: Send, watcher: Watcher | None) -> Send:
    """Tell `watcher` of each frame before it goes `onward`; without one, `onward` itself."""
    if watcher is None:
        return onward

    def send(frame: Frame) -> bool:
        watcher(frame)
        return onward(frame)

    return send


def burst_end(source: NetClient, gatherers: Sequence[Inlet]) -> Callable[[], None]:
    """`end_burst` for the receivers that gather frames; `source` is skipped where it stands among them."""
    own = source._inlet
    if all(inlet is own for inlet in gatherers):
        return nothing

    def end_burst() -> None:
        for inlet in gatherers:
            if inlet is not own:
                inlet.burst_ended()

    return end_burst

"""The door of a receiver: its queue, who waits for it, and the one flag that says whether a frame may go straight in.

`shut` is true while the client is delivering (so that nothing recurses), while it is busy (it refused a frame and has
not flushed), while its queue is not empty (so that nothing overtakes) and once it is gone. The paths look at that flag
and nothing else; all that is rare happens in the methods below.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from etherloom.client import Frame, NetClient
from etherloom.counters import Drop
from etherloom.errors import UsageError

if TYPE_CHECKING:
    from etherloom.loop.events import BottomHalf
    from etherloom.net.network import Network

__all__ = ["QUEUE_BYTES", "QUEUE_FRAMES", "Inlet", "inlet_of"]

QUEUE_FRAMES = 10_000  # QEMU's limit (C-37), which there bounds only frames without a callback
QUEUE_BYTES = 16 << 20  # a queue of 64 KiB GSO frames would otherwise hold 640 MiB

# How many frames one bottom half delivers: as much as eight sources' bursts, so that a long queue drains quickly and
# still cannot hold the loop for more than some 2 ms.
DRAIN_FRAMES = 512


class Inlet:
    """Door and queue of one receiver.

    Attributes:
        shut: A frame may not go straight to the client. Only the paths and `_run` open the door again.
        pending: What `shut` becomes when a delivery ends: true once something was queued, or the client is gone.
        busy: The client refused a frame and has not flushed since.
        gathers: The client wants to know when a burst is over.
        closed: The client is gone; what still arrives is counted `removed`.
        queue: `(sender, frame)` in order of arrival; each frame is a copy of its own, in the receiver's format.
        waiting: Senders told to pause on this receiver's account, in order of their first refusal.
        rx_frames, rx_octets: Frames the client took since the last `settle`; octets as they lay in the buffer.
    """

    __slots__ = (
        "_drain",
        "_flush_wanted",
        "_network",
        "busy",
        "client",
        "closed",
        "gathers",
        "pending",
        "queue",
        "queue_bytes_max",
        "queue_frames_max",
        "queued_bytes",
        "rx_frames",
        "rx_octets",
        "shut",
        "waiting",
    )

    def __init__(self, network: Network, client: NetClient) -> None:
        self._network = network
        self.client = client
        self.shut = self.pending = self.busy = self.closed = False
        self._flush_wanted = False
        self.gathers = type(client).burst_ended is not NetClient.burst_ended
        self.queue: deque[tuple[NetClient, bytes]] = deque()
        self.queued_bytes = 0
        self.queue_frames_max, self.queue_bytes_max = QUEUE_FRAMES, QUEUE_BYTES
        self.waiting: dict[NetClient, None] = {}
        self.rx_frames = self.rx_octets = 0
        self._drain: BottomHalf | None = None  # an idle client never needs one

    def offer(self, frame: Frame, source: NetClient) -> bool:
        """Deliver or queue one frame. False: it is in the queue, or was dropped from a full one, and counted."""
        if self.shut:
            return self.hold(frame, source)
        self.shut = True
        try:
            taken = self.client.receive(frame)
        except Exception as error:
            return self.failed(error)
        self.shut = self.pending
        if taken:
            self.rx_frames += 1
            self.rx_octets += len(frame)
            return True
        return self.refused(frame, source, taken)

    def hold(self, frame: Frame, source: NetClient) -> bool:
        """Queue a frame behind the others, because the door is shut or the sender must not go in now."""
        if self.closed:
            self.client.counters.drop(Drop.REMOVED)
            return True
        size = len(frame)
        if len(self.queue) >= self.queue_frames_max or self.queued_bytes + size > self.queue_bytes_max:
            self.client.counters.drop(Drop.QUEUE_FULL)
            return False
        self.queue.append((source, bytes(frame)))
        self.queued_bytes += size
        self.shut = self.pending = True
        if not self.busy:  # the client is delivering and cannot be expected to flush
            self._schedule()
        return False

    def reconsider(self, frame: Frame, source: NetClient) -> bool:
        """The client's shortcut did not take a frame: `receive` has the say."""
        self.shut = self.pending
        return self.offer(frame, source)

    def refused(self, frame: Frame, source: NetClient, answer: object) -> bool:
        """`receive` did not take a frame: keep it in front, since whatever is queued came while it was offered."""
        if answer is None:
            return self.failed(UsageError(f"{type(self.client).__name__}.receive returned None, not True or False"))
        if self.closed:
            self.client.counters.drop(Drop.REMOVED)
            return True
        self.queue.appendleft((source, bytes(frame)))
        self.queued_bytes += len(frame)
        self.shut = self.pending = True
        if self._flush_wanted:  # said while the frame was being offered: its reason is gone already
            self._flush_wanted = False
            self._schedule()
        else:
            self.busy = True
        return False

    def failed(self, error: Exception) -> bool:
        """`receive` raised: the frame is lost and the client goes down."""
        self.client.counters.drop(Drop.RECEIVER_ERROR)
        self._network.fail(self.client, error)
        return True

    def burst_ended(self) -> None:
        """Tell the client that its sender's burst is over."""
        if self.closed:
            return
        try:
            self.client.burst_ended()
        except Exception as error:
            self._network.fail(self.client, error)

    def wait(self, source: NetClient) -> None:
        """Resume `source` when the queue has drained."""
        self.waiting[source] = None
        if not source._paused:
            source._paused = True
            source.counters.pauses += 1

    def flush(self) -> None:
        """The client can receive again."""
        if self.busy:
            self.busy = False
            self._schedule()
        elif self.shut:
            self._flush_wanted = True

    def discard(self, reason: Drop, source: NetClient | None = None) -> None:
        """Drop what is queued, of one sender or of all, and count it."""
        if not self.queue:
            return
        keep = deque(entry for entry in self.queue if source is not None and entry[0] is not source)
        if lost := len(self.queue) - len(keep):
            self.client.counters.drop(reason, lost)
            self.queue = keep
            self.queued_bytes = sum(len(frame) for _, frame in keep)

    def close(self, reason: Drop) -> None:
        """Shut the door for good: the client is gone."""
        self.discard(reason)
        self.shut = self.pending = self.closed = True
        self.busy = False

    def forget(self, source: NetClient) -> None:
        """`source` is gone: purge what it sent (C-39), and do not resume it."""
        self.discard(Drop.PURGED, source)
        self.waiting.pop(source, None)

    def _stuck(self) -> bool:
        return self.busy or self.closed

    def _schedule(self) -> None:
        if self._drain is None:
            self._drain = self._network.context.bottom_half(self.client, self._run)
        self._drain.schedule()

    def _run(self) -> None:
        """Deliver in order what is queued, open the door when nothing is left, resume who waits."""
        if self._stuck():
            return
        self._flush_wanted = False
        receive = self.client.receive
        for _ in range(DRAIN_FRAMES):
            if not self.queue:
                break
            source, frame = self.queue.popleft()
            self.queued_bytes -= len(frame)
            try:
                taken = receive(frame)
            except Exception as error:
                self.failed(error)
                return
            if not taken:
                self.refused(frame, source, taken)
                break
            self.rx_frames += 1
            self.rx_octets += len(frame)
        self.burst_ended()
        if self._stuck():
            return
        if self.queue:
            self._schedule()
            return
        self.shut = self.pending = False
        waiting, self.waiting = self.waiting, {}
        for source in waiting:
            self._network.resume(source)


def inlet_of(client: NetClient) -> Inlet:
    """The inlet of a client that is in a network."""
    if client._inlet is None:
        raise UsageError(f"{client.name!r} is not in a network")
    return client._inlet

"""What a client is given to live by: the loop, the clock, its place in the network.

Everything a client registers here is owned by that client: it runs guarded (an exception takes down the owner, not the
loop), and it is gone when the client goes, so `NetClient.close` has only the client's own resources to release.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from etherloom.client import FRAME_MAX, VNET_HEADER_BYTES, NetClient
from etherloom.loop.clock import POLLING_HELPS, Clock
from etherloom.loop.events import BottomHalf, FdWatch, Timer

if TYPE_CHECKING:
    import asyncio

    from etherloom.net.network import Network
    from etherloom.net.segment import Segment

__all__ = ["BURST_FRAMES", "Context"]

# QEMU's tap reads 50 (C-122). At 4-5 us a frame 64 is 0.3 ms, the longest that one source keeps another waiting, and
# the loop's 5-10 us a turn is then under 0.2 us a frame.
BURST_FRAMES = 64

# The same in time, for frames that take longer: large ones, or those for a NIC model.
BURST_NS = 500_000


class Context:
    """One per network, shared by its clients.

    Args:
        loop: Any asyncio event loop; `etherloom.testing` has one with a virtual clock.
        network: The network the clients live in.
        clock: Where time comes from; the loop's own monotonic clock by default.

    Attributes:
        read_buffer: One writable buffer per loop that any source may read a frame into. Its content is good until the
            source returns to the loop: a receiver that keeps a frame copies it.
        read_views: Read-only views of the buffer's first bytes, by their number: slicing one takes longer than
            looking it up, so a source keeps those of sizes that come again.
        burst_frames: How many frames a source reads per wake-up before it lets others run.
        burst_ns: About how long it may take over that. A guest bus lowers it, see `serve_within`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, network: Network, clock: Clock | None = None) -> None:
        self.loop = loop
        self.network = network
        self.clock = clock or Clock()
        self.read_buffer = memoryview(bytearray(FRAME_MAX + VNET_HEADER_BYTES))
        self.read_views: dict[int, memoryview] = {}
        self.burst_frames = BURST_FRAMES
        self.burst_ns = BURST_NS
        self._polling_until_ns = 0
        self._polling_turns = 0
        self._polling = False
        self._loop_polls: Callable[[int], None] | None = (
            getattr(loop, "keep_polling", None) if type(self.clock) is Clock else None  # whose time is the loop's
        )

    def watch_fd(
        self,
        client: NetClient,
        fd: int,
        *,
        on_readable: Callable[[], None] | None = None,
        on_writable: Callable[[], None] | None = None,
    ) -> FdWatch:
        """Callbacks for a non-blocking fd, both switched off at first (L-02, L-03).

        The fd stays the client's: close the watch, then the fd.
        """
        network = self.network
        return network.own(
            client,
            FdWatch(
                self.loop,
                fd,
                network.guarded(client, on_readable) if on_readable else None,
                network.guarded(client, on_writable) if on_writable else None,
            ),
        )

    def bottom_half(self, client: NetClient, callback: Callable[[], None]) -> BottomHalf:
        """A callback to run once from the loop, however often it is scheduled before that (L-09)."""
        return self.network.own(client, BottomHalf(self.loop, self.network.guarded(client, callback)))

    def timer(self, client: NetClient, callback: Callable[[], None]) -> Timer:
        """A one-shot timer on the context's clock, unarmed (L-08)."""
        return self.network.own(client, Timer(self.loop, self.clock, self.network.guarded(client, callback)))

    def segment(self, hubid: int) -> Segment:
        """The flooding segment of that number, made on first use (O-140)."""
        return self.network.segment(hubid)

    def serve_within(self, burst_ns: int) -> None:
        """Have sources take no longer than that over a burst, from now on.

        For a client whose far end stands still while it waits for us, such as a guest's processor at a register read.
        """
        self.burst_ns = min(self.burst_ns, burst_ns)

    def keep_polling(self, until_ns: int) -> None:
        """Poll all fds without sleeping until the clock reads `until_ns`.

        For a client that expects its next event within some tens of microseconds, where going to sleep costs more than
        the wait. Calls extend each other; the bound is 1 ms from now; on a machine with one CPU it does nothing, since
        there it would take the time from whoever is to produce the event.
        """
        if not POLLING_HELPS:
            return
        self._polling_until_ns = max(self._polling_until_ns, min(until_ns, self.clock.now_ns() + POLLING_MAX_NS))
        if self._loop_polls is not None:
            self._loop_polls(self._polling_until_ns)
            return
        self._polling_turns = POLLING_MAX_TURNS
        if not self._polling:
            self._polling = True
            self.loop.call_soon(self._poll_on)

    def _poll_on(self) -> None:
        # A loop with a ready callback polls with time-out 0, so a callback that schedules itself is all it takes.
        self._polling_turns -= 1
        if self._polling_turns and self.clock.now_ns() < self._polling_until_ns:
            self.loop.call_soon(self._poll_on)
        else:
            self._polling = False


POLLING_MAX_NS = 1_000_000
POLLING_MAX_TURNS = 1_000  # no turn is under 1 us; a bound of its own, since a virtual clock stands still meanwhile

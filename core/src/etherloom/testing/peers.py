"""Net clients made of memory, with a hook for every evil a client can do.

`MemoryPeer` takes every frame and remembers it. Each of its hooks may raise, remove clients, send, or do whatever else
a bad plugin does in that place::

    peer = MemoryPeer("a", network.context)
    peer.on_receive = raises(ZeroDivisionError())  # dies of its first frame
    peer.on_receive = lambda frame: None  # forgets to answer
    peer.on_receive = lambda frame: peer.take(frame) and peer.send(frame)  # answers what it hears
    peer.on_resume = lambda: network.remove(other)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import NoReturn

from etherloom.client import Frame, NetClient, Offload
from etherloom.context import Context

__all__ = ["GatheringPeer", "MemoryNic", "MemoryPeer", "raises"]


def raises(error: BaseException) -> Callable[..., NoReturn]:
    """A hook that raises `error`, whatever it is called with."""

    def hook(*_: object) -> NoReturn:
        raise error

    return hook


class MemoryPeer(NetClient):
    """A well-behaved client until a hook is set.

    Args:
        name: Unique in the network.
        context: Of the network.
        vnet: Its frames carry a virtio-net header.

    Attributes:
        received: A copy of each frame taken, in order.
        kept: With `keep_frames`, the very objects that were borrowed: what a bad client would hold on to.
        unsent: What `send_all` has still to send, once resumed.
        pausing: `send` returned False and `resume` has not come yet.
        resumes, closes: How often each was called.
        links: `link_up` at each `link_changed`.
        offloads: Each setting it was told.
        on_receive: Replaces `receive`; its result is the answer. `take` is what it replaces.
        on_resume, on_link_changed, on_close: Called first, before this class's own behaviour.
    """

    def __init__(self, name: str, context: Context, *, vnet: bool = False) -> None:
        super().__init__(name, context)
        self.vnet = vnet
        self.received: list[bytes] = []
        self.kept: list[Frame] = []
        self.keep_frames = False
        self.unsent: deque[Frame] = deque()
        self.pausing = False
        self.resumes = self.closes = 0
        self.links: list[bool] = []
        self.offloads: list[Offload] = []
        self.on_receive: Callable[[Frame], object] | None = None
        self.on_resume: Callable[[], object] | None = None
        self.on_link_changed: Callable[[], object] | None = None
        self.on_close: Callable[[], object] | None = None
        self._blocked = False

    # What a test calls -------------------------------------------------------------------------------------------

    def send_all(self, frames: Iterable[Frame]) -> None:
        """Send one burst as a source should: stop where `send` says so, go on when resumed."""
        self.unsent.extend(frames)
        if not self.pausing:
            self._send_burst()

    def block(self) -> None:
        """Take nothing from now on."""
        self._blocked = True

    def unblock(self) -> None:
        """Take frames again, and say so."""
        self._blocked = False
        self.flush()

    def take(self, frame: Frame) -> bool:
        """What `receive` does without a hook: remember a copy, unless blocked."""
        if self._blocked:
            return False
        if self.keep_frames:
            self.kept.append(frame)
        self.received.append(bytes(frame))
        return True

    # What the network calls --------------------------------------------------------------------------------------

    def receive(self, frame: Frame) -> bool:
        if self.on_receive is not None:
            return self.on_receive(frame)  # type: ignore[return-value]  # evil may answer anything
        return self.take(frame)

    def resume(self) -> None:
        self.resumes += 1
        self.pausing = False
        if self.on_resume is not None:
            self.on_resume()
        if self.unsent:
            self._send_burst()

    def link_changed(self) -> None:
        self.links.append(self.link_up)
        if self.on_link_changed is not None:
            self.on_link_changed()

    def set_offload(self, offload: Offload) -> None:
        self.offloads.append(offload)

    def close(self) -> None:
        self.closes += 1
        if self.on_close is not None:
            self.on_close()

    def _send_burst(self) -> None:
        with self.context.network.burst():
            send = self.send
            while self.unsent and not self.pausing:
                self.pausing = not send(self.unsent.popleft())
            self.end_burst()


class MemoryNic(MemoryPeer):
    """The guest's side of a wire: its link follows its backend's (C-50)."""

    is_nic = True


class GatheringPeer(MemoryPeer):
    """Wants to know where bursts end.

    Attributes:
        bursts: The frames of each burst, as far as it has ended.
        on_burst_ended: Called first at the end of each burst.
    """

    def __init__(self, name: str, context: Context, *, vnet: bool = False) -> None:
        super().__init__(name, context, vnet=vnet)
        self.bursts: list[list[bytes]] = []
        self.on_burst_ended: Callable[[], object] | None = None
        self._in_bursts = 0

    def burst_ended(self) -> None:
        if self.on_burst_ended is not None:
            self.on_burst_ended()
        self.bursts.append(self.received[self._in_bursts :])
        self._in_bursts = len(self.received)

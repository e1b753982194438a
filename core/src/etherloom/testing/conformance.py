"""Does a net client keep what the contract promises for it? Every plugin asks in three lines, with or without pytest::

    def test_keeps_the_contract() -> None:
        check_net_client(lambda context, name: init(NoopOptions(), name, None, context))

A kind with an outside (a tap, a stream) also passes `far_end`, which makes the object that stands there; with it the
check sees what comes out and puts frames in. What is promised is the list of functions in
`etherloom.testing.promises`; each runs with a client, a loop and a network of its own.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

import attrs

from etherloom.client import VNET_HEADER_BYTES, NetClient
from etherloom.context import Context
from etherloom.net.network import Network
from etherloom.testing.loop import SECOND_NS, VirtualLoop
from etherloom.testing.peers import GatheringPeer

if TYPE_CHECKING:
    from etherloom.testing.promises import Promise

__all__ = ["Bench", "ConformanceError", "Factory", "FarEnd", "Report", "check_net_client"]

Factory: TypeAlias = Callable[[Context, str], NetClient]

# A frame of the check's own is known by its EtherType (IEEE 802 local experimental) and carries its number, so that
# what a kernel adds to an outside of its own accord is not mistaken for one. It is broadcast: every NIC lets it in.
HEADER = bytes.fromhex("ffffffffffff 020000000001 88b5")
NUMBER = slice(14, 18)


class FarEnd(Protocol):
    """What stands outside of a client: the other end of its socket, the interface of its tap.

    Attributes:
        frame_max: The longest frame that passes, in bytes, 60 or more; of no effect above 69,632.
    """

    frame_max: int

    def put(self, frame: bytes) -> bool:
        """Send one Ethernet frame towards the client. False: not sent, there is no room outside."""

    def take(self) -> list[bytes]:
        """The frames that came out since last asked; where they need time to come out, waits for them itself."""

    def vanish(self) -> None:
        """Be gone without a word, as a killed process is. Nothing is put or taken afterwards."""

    def close(self) -> None:
        """Release everything. Called exactly once, after the client is closed."""


class ConformanceError(AssertionError):
    """A promise is broken.

    Args:
        promise: Which one, as a sentence.
        found: What was seen instead.
    """

    def __init__(self, promise: str, found: str) -> None:
        super().__init__(f"{promise} But {found}")
        self.promise, self.found = promise, found


@attrs.frozen
class Report:
    """What was checked: the promises `kept`, and those `inapplicable` without an outside to look at."""

    kept: tuple[str, ...]
    inapplicable: tuple[str, ...]


def check_net_client(factory: Factory, far_end: Callable[[NetClient], FarEnd] | None = None) -> Report:
    """Check every promise that a net client makes.

    Args:
        factory: `factory(context, name) -> NetClient`, called anew for each promise; it returns a client that is in no
            network yet, as a row's `init` does.
        far_end: `far_end(client) -> FarEnd`, called once for each client made, before it is started.

    Raises:
        ConformanceError: One is broken; the text names it and says what was seen.
    """
    from etherloom.testing.promises import PROMISES

    kept: list[str] = []
    inapplicable: list[str] = []
    for promise in PROMISES:
        if promise.needs_far_end and far_end is None:
            inapplicable.append(promise.text)
            continue
        check_promise(promise, factory, far_end)
        kept.append(promise.text)
    return Report(tuple(kept), tuple(inapplicable))


def check_promise(promise: Promise, factory: Factory, far_end: Callable[[NetClient], FarEnd] | None) -> None:
    """Check one, with a peer of each kind that the client can have; the list in `promises` is not the only one."""
    before = _open_fds()
    try:
        if _check_between(promise, factory, far_end, vnet=False).vnet:
            _check_between(promise, factory, far_end, vnet=True)
        if leaked := _opened_since(before):
            raise Broken(f"these file descriptors stayed open: {leaked}.")
    except Broken as broken:
        raise ConformanceError(promise.text, str(broken)) from broken.__cause__
    except Exception as error:
        raise ConformanceError(promise.text, f"this was raised: {type(error).__name__}: {error}") from error


def _check_between(
    promise: Promise, factory: Factory, far_end: Callable[[NetClient], FarEnd] | None, *, vnet: bool
) -> NetClient:
    """Check with a peer that has a virtio-net header, or none."""
    bench = Bench(vnet=vnet)
    try:
        bench.begin(factory, far_end)
        promise.check(bench)
        bench.finish()
    finally:
        bench.close()
    return bench.client


class Broken(Exception):
    """What was seen instead of what is promised; `check_net_client` adds the promise."""


class Near(GatheringPeer):
    """The client's peer during a check: a NIC, so that its link follows the client's (C-50)."""

    is_nic = True


class Errors(logging.Handler):
    """What was logged as an error: the network logs what clients raise, and goes on."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Bench:
    """One client under test between a peer and, where there is one, its far end.

    Attributes:
        client: What `factory` made, in `network` and started.
        near: Its peer.
        far: Its outside, or None.
        errors: What was logged; must be empty at the end.
    """

    client: NetClient

    def __init__(self, *, vnet: bool) -> None:
        self.errors = Errors()
        self._log = logging.getLogger("etherloom")
        self._propagated, self._log.propagate = self._log.propagate, False
        self._log.addHandler(self.errors)
        self.loop = VirtualLoop()
        self.network = Network(self.loop, clock=self.loop.clock)
        self.near = Near("near", self.network.context, vnet=vnet)
        self.far: FarEnd | None = None

    def begin(self, factory: Factory, far_end: Callable[[NetClient], FarEnd] | None) -> None:
        """Make the client, wire it and start it."""
        self.client = factory(self.network.context, "client")
        self.network.add(self.client)
        if far_end is not None:
            self.far = far_end(self.client)
        self.network.add(self.near, self.client)
        self.loop.run_until_complete(self.client.start())
        self.loop.run_until_idle()

    @property
    def outside(self) -> FarEnd:
        """The far end, for promises that need one."""
        assert self.far is not None
        return self.far

    def expect(self, kept: bool, found: str) -> None:
        """Break the promise with `found` unless `kept`."""
        if not kept:
            raise Broken(found)

    def framed(self, frame: bytes) -> bytes:
        """The frame as `near` sends it."""
        return bytes(VNET_HEADER_BYTES) + frame if self.near.vnet else frame

    def heard(self) -> list[bytes]:
        """Which of the check's own frames `near` received, without header."""
        start = VNET_HEADER_BYTES if self.near.vnet else 0
        return own([frame[start:] for frame in self.near.received])

    def alive(self) -> None:
        """The client was not taken down, and its peer does not wait for it for ever."""
        self.loop.advance(SECOND_NS)
        self.expect(self.client.failure is None, f"the client was taken down by {self.client.failure!r}.")
        self.expect(not self.near.pausing, "its peer was told to pause and never to go on.")

    def finish(self) -> None:
        """Remove everything and see that nothing goes on."""
        self.network.close()
        self.loop.advance(SECOND_NS)
        self.expect(not self.errors.lines, f"this was logged: {'; '.join(self.errors.lines)}.")
        self.expect(self.loop.next_timer_ns is None, "a timer is armed although the client is closed.")

    def close(self) -> None:
        """Release what the check itself holds, whatever has happened."""
        try:
            self.network.close()
            if self.far is not None:
                self.far.close()
            self.loop.run_until_idle()
        finally:
            self.loop.close()
            self._log.removeHandler(self.errors)
            self._log.propagate = self._propagated


def frame_of(number: int, size: int = 60) -> bytes:
    """The check's frame of that number, 18 bytes or longer."""
    return (HEADER + number.to_bytes(4, "big")).ljust(size, bytes([number & 0xFF]))


def own(frames: list[bytes]) -> list[bytes]:
    """The check's own frames among others."""
    return [frame for frame in frames if frame[:14] == HEADER]


def number_of(frame: bytes) -> int:
    """The number in one of the check's own frames."""
    return int.from_bytes(frame[NUMBER], "big")


def _opened_since(before: dict[int, str]) -> list[tuple[int, str]]:
    """The file descriptors that were not open then and are now, and not only because garbage holds them."""
    opened = _open_fds().items() - before.items()
    if opened:
        gc.collect()
        opened &= _open_fds().items()
    return sorted(opened)


def _open_fds() -> dict[int, str]:
    """Every open file descriptor and what it is. Empty where the system does not tell."""
    found: dict[int, str] = {}
    try:
        numbers = os.listdir("/dev/fd")  # noqa: PTH208 - names, not paths
    except OSError:
        return found
    for number in numbers:
        try:
            found[int(number)] = os.readlink(f"/dev/fd/{number}")  # noqa: PTH115
        except OSError:  # the one that listed the directory
            continue
    return found

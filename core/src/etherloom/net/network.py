"""The network: clients, who is whose peer, and the one place where `send` is set.

State changes rewire, frames never ask. Whatever changes a topology, a link or a client's life ends in `_touch`; when
the outermost burst is over, every client that the change can concern gets a new `send` and `end_burst`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from etherloom.client import NetClient
from etherloom.context import Context
from etherloom.counters import Drop
from etherloom.errors import ConfigError, EtherloomError, UsageError
from etherloom.loop.clock import Clock
from etherloom.net import paths, wiring
from etherloom.net.inlet import Inlet, inlet_of
from etherloom.net.segment import Segment

__all__ = ["Network", "Observer"]

log = logging.getLogger("etherloom")


class Closable(Protocol):
    """Something the context gave to a client."""

    def close(self) -> None: ...


Resource = TypeVar("Resource", bound=Closable)


class Observer(Protocol):
    """Who is told of events; `etherloom.plugins` tells the plugins' hooks."""

    def net_client_added(self, client: NetClient) -> None: ...
    def net_client_removed(self, client: NetClient) -> None: ...
    def net_client_failed(self, client: NetClient) -> None: ...
    def link_changed(self, client: NetClient) -> None: ...


class Network:
    """All clients of one loop.

    Args:
        loop: The asyncio loop everything runs on.
        clock: See `Context`.
        carrier: Propagate a backend's carrier to the NIC it is the peer of (U-01). Off is QEMU's behaviour (C-55).

    Attributes:
        clients: By name, in order of creation.
        segments: Hubs by number; they stay when their last port goes, and cost nothing (O-140).
        observers: Told of each event, in order.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, clock: Clock | None = None, carrier: bool = False) -> None:
        self.loop = loop
        self.carrier = carrier
        self.clients: dict[str, NetClient] = {}
        self.segments: dict[int, Segment] = {}
        self.observers: list[Observer] = []
        self.context = Context(loop, self, clock)
        self._resources: dict[NetClient, list[Closable]] = {}
        self._depth = 0
        self._dirty: dict[NetClient, None] = {}
        self._routes: dict[NetClient, wiring.Route] = {}
        self._unclosed: dict[NetClient, None] = {}
        self._bereaved: set[NetClient] = set()  # NICs whose link went with their backend

    # Bursts and guarded calls ------------------------------------------------------------------------------------

    @contextmanager
    def burst(self) -> Iterator[None]:
        """Rewires asked for inside apply when the outermost burst ends."""
        self._depth += 1
        try:
            yield
        finally:
            self._end()

    def _end(self) -> None:
        self._depth -= 1
        if self._dirty and not self._depth:
            self._rewire()

    def guarded(self, client: NetClient, callback: Callable[[], None]) -> Callable[[], None]:
        """`callback` as the loop may call it: one burst, and an exception takes down `client` only."""

        def run() -> None:
            self._depth += 1
            try:
                callback()
            except Exception as error:
                self.fail(client, error)
            finally:  # as `_end`, without the call
                self._depth -= 1
                if self._dirty and not self._depth:
                    self._rewire()

        return run

    def call(self, client: NetClient, method: Callable[[], None]) -> None:
        """Call into a client now, guarded."""
        self.guarded(client, method)()

    def own(self, client: NetClient, resource: Resource) -> Resource:
        """Close `resource` when `client` goes, now if it is gone already."""
        if client._inlet is not None and client._inlet.closed:
            resource.close()
            return resource
        self._resources.setdefault(client, []).append(resource)
        return resource

    def resume(self, source: NetClient) -> None:
        """Let a paused source go on."""
        if source._paused and source.failure is None:
            source._paused = False
            self.call(source, source.resume)

    # Clients and peers -------------------------------------------------------------------------------------------

    def add(self, client: NetClient, peer: NetClient | None = None) -> None:
        """Take a client in, connected to `peer`.

        Raises:
            UsageError: The name is taken, or `peer` is not in the network or has a peer; the network is as it was.
            ConfigError: The connection would close a ring of hubs; the network is as it was.
        """
        if client.name in self.clients:
            raise UsageError(f"there is a net client {client.name!r} already")
        if peer is not None:
            self._check_member(peer)
            self._check_free(client, peer)
        client._inlet = Inlet(self, client)
        client.send, client.end_burst = paths.lost(client, Drop.NO_PEER), paths.nothing  # until the burst's rewire
        self.clients[client.name] = client
        self._unclosed[client] = None
        self._routes[client] = wiring.Route()
        if client.segment is not None:
            client.segment.ports.insert(0, client)
        with self.burst():
            self._touch(client)
            if peer is not None:
                self.connect(client, peer)
        for observer in self.observers:
            observer.net_client_added(client)

    def connect(self, one: NetClient, other: NetClient) -> None:
        """Make two clients each other's peer.

        Raises:
            UsageError: One of them has a peer, or is not in the network.
            ConfigError: Both are hub ports, and the patch would close a ring (C-66 kills QEMU).
        """
        self._check_member(one)
        self._check_member(other)
        self._check_free(one, other)
        one.peer, other.peer = other, one
        self._touch(one)
        self._set_links([client for client in (one, other) if client in self._bereaved], True)

    def disconnect(self, client: NetClient) -> None:
        """Take a client and its peer apart. What either sent and the other has queued stays queued."""
        peer = client.peer
        if peer is None:
            return
        with self.burst():
            self._touch(client)
            self._touch(peer)
            client.peer = peer.peer = None

    def remove(self, client: NetClient) -> None:
        """Delete a client and close it: its peer loses it, and what it sent is purged from the queues.

        A NIC that loses its backend loses its link (C-57). Differs from QEMU (C-73): the next backend brings it back.
        """
        self._check_member(client)
        peer = client.peer
        with self.burst():
            self.disconnect(client)
            if peer is not None and peer.is_nic and peer.link_up:
                self._set_links([peer], False)
                self._bereaved.add(peer)
            self._bereaved.discard(client)
            if client.segment is not None:
                client.segment.ports.remove(client)
            del self.clients[client.name]
            self._touch(client)
            self._shut_down(client, Drop.REMOVED)
            client.send, client.end_burst = paths.lost(client, Drop.REMOVED), paths.nothing
            for other in self.clients.values():
                inlet_of(other).forget(client)
            self._close(client)
        for observer in self.observers:
            observer.net_client_removed(client)

    def close(self) -> None:
        """Remove every client, the newest first. One that raises in its `close` does not keep the others."""
        with self.burst():
            while self.clients:
                self.remove(next(reversed(self.clients.values())))

    def fail(self, client: NetClient, error: BaseException) -> None:
        """Take down a client that raised: link down, resources released, the rest goes on. It stays in the tables."""
        if client.failure is not None or client not in self._unclosed:
            log.error("%s raised after it was taken down: %s", client.name, error, exc_info=error)
            return
        client.failure = error
        # What a person can act on says so by itself; anything else is a bug, and wants its traceback.
        if isinstance(error, EtherloomError):
            log.error("%s is taken down: %s", client.name, error)
        else:
            log.error("%s is taken down: %s: %s", client.name, type(error).__name__, error, exc_info=error)
        client.link_up = False
        self._shut_down(client, Drop.RECEIVER_ERROR)
        self._touch(client)
        # Not now: the client may be on the stack, and what it closes in use there.
        self.loop.call_soon(self._close, client)
        for observer in self.observers:
            observer.net_client_failed(client)

    def release(self, client: NetClient) -> None:
        """Close what the context gave to a client, also to one whose `init` failed before it was added."""
        for resource in self._resources.pop(client, []):
            resource.close()

    def release_strays(self) -> None:
        """Close what the context gave to clients that are not in the network: an `init` raised half-way."""
        for client in [owner for owner in self._resources if self.clients.get(owner.name) is not owner]:
            self.release(client)

    def segment(self, hubid: int) -> Segment:
        """The hub of that number, made on first use."""
        return self.segments.setdefault(hubid, Segment(hubid))

    def _shut_down(self, client: NetClient, reason: Drop) -> None:
        inlet_of(client).close(reason)
        self.release(client)

    def _close(self, client: NetClient) -> None:
        if client not in self._unclosed:
            return
        del self._unclosed[client]
        try:
            client.close()
        except Exception as error:
            log.error("%s: close failed: %s: %s", client.name, type(error).__name__, error, exc_info=error)

    def _check_member(self, client: NetClient) -> None:
        if self.clients.get(client.name) is not client:
            raise UsageError(f"{client.name!r} is not in the network")

    def _check_free(self, one: NetClient, other: NetClient) -> None:
        if one is other:
            raise UsageError(f"{one.name!r} cannot be its own peer")
        for client in (one, other):
            if client.peer is not None:
                raise UsageError(f"{client.name!r} is connected to {client.peer.name!r} already")
        if one.segment is not None and other.segment is not None:
            ring = wiring.ring(one.segment, other.segment)
            if ring:
                names = " - ".join(str(segment) for segment in [*ring, ring[0]])
                raise ConfigError(f"connecting {one.name!r} to {other.name!r} closes a ring of hubs: {names}")

    # Links -------------------------------------------------------------------------------------------------------

    def set_link(self, client: NetClient, up: bool) -> None:
        """QEMU's `set_link` (C-50 to C-54): a NIC follows its backend, a backend does not follow its NIC."""
        follower = client.peer if client.peer is not None and client.peer.is_nic else None
        self._set_links([client] if follower is None else [client, follower], up)
        if client.peer is not None and client.peer is not follower:
            self.call(client.peer, client.peer.link_changed)

    def set_carrier(self, client: NetClient, up: bool) -> None:
        """A backend's far end came or went. With `carrier` on, its NIC sees it; QEMU's never does (C-55, U-01)."""
        if self.carrier:
            self.set_link(client, up)
        else:
            self._set_links([client], up)

    def _set_links(self, clients: list[NetClient], up: bool) -> None:
        clients = [client for client in clients if client.failure is None]
        self._bereaved.difference_update(clients)
        with self.burst():
            for client in clients:
                client.link_up = up
                if not up:
                    behind = client if client.segment is None else client.peer
                    if behind is not None:
                        inlet_of(behind).discard(Drop.LINK_DOWN)
                self._touch(client)
        for client in clients:
            self.call(client, client.link_changed)
            for observer in self.observers:
                observer.link_changed(client)

    # Rewiring and counting ---------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Bring all clients' `counters` up to date."""
        wiring.settle(self._routes)

    def watch(self, client: NetClient, watcher: paths.Watcher | None) -> None:
        """Tell `watcher` of every frame that `client` sends from now on; None ends it. A frame is borrowed."""
        if client in self._routes:
            self._routes[client].watcher = watcher
            self._touch(client)

    def cell(self, client: NetClient) -> wiring.Cell | None:
        """The clients that hear `client` now, and the form in which frames go; None where there are none."""
        route = self._routes.get(client)
        return route.cell if route is not None else None

    def _touch(self, client: NetClient) -> None:
        self._dirty[client] = None
        if not self._depth:
            self._rewire()

    def _rewire(self) -> None:
        """Give a new `send` to every client that a change concerns, and tell who was concerned."""
        with self.burst():
            self.settle()
            rewired: dict[NetClient, None] = {}
            dirty, self._dirty = self._dirty, {}
            for client in dirty:
                if self.clients.get(client.name) is not client:
                    self._routes.pop(client, None)  # kept until now: a removed source may have finished its burst
            done: set[NetClient] = set()
            for client in dirty:
                if client in done:
                    continue
                endpoints, segments = wiring.domain(client)
                endpoints = [endpoint for endpoint in endpoints if endpoint in self._routes]
                wiring.wire(endpoints, segments, self._routes)
                done.update(endpoints, *(segment.ports for segment in segments))
                rewired.update(dict.fromkeys(endpoints))
            for client in rewired:
                self._tell_offload(client)
            for client in rewired:
                self.resume(client)

    def _tell_offload(self, client: NetClient) -> None:
        route = self._routes[client]
        if client.vnet and route.cell is not None and client._offload != route.offload:
            client._offload = offload = route.offload
            self.call(client, lambda: client.set_offload(offload))

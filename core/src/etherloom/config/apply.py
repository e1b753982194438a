"""From a configuration to a running network: start-up, hot add, delete and re-binding are one road."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import attrs

from etherloom.client import NetClient
from etherloom.config.model import BusConfig, ClientConfig, NetworkConfig
from etherloom.config.topology import survey
from etherloom.errors import ConfigError, EtherloomError
from etherloom.kinds import NicModelKind
from etherloom.loop.clock import Clock
from etherloom.net.network import Network

if TYPE_CHECKING:
    from etherloom.plugins.registry import Registry

__all__ = ["Loom"]

log = logging.getLogger("etherloom")


class Loom:
    """A network that is what the last `apply` said.

    Args:
        registry: Where rows and hooks are found.
        loop: The asyncio loop everything runs on; it need not run yet.
        clock: See `Context`.

    Attributes:
        network: The clients that run.
        config: What they were made from.
    """

    def __init__(self, registry: Registry, loop: asyncio.AbstractEventLoop, *, clock: Clock | None = None) -> None:
        self.registry = registry
        self.network = Network(loop, clock=clock)
        self.network.observers.append(registry.observer)
        self.config = NetworkConfig()
        self._made: dict[str, ClientConfig] = {}  # what each client that runs was made from
        self._up = False

    def apply(self, config: NetworkConfig) -> None:
        """Make the network what `config` says, touching only what differs.

        By name: a client that is not in `config` goes; one whose kind or options differ, or that has failed, is made
        anew; one that only gets or loses a peer is rewired and otherwise left alone, with its queue and its counters.
        So a backend that is deleted and added again under its id, in one `apply` or in two, is the peer of its NIC or
        hub port again (U-04). Differs from QEMU (C-73): there the NIC stays bound to a ghost.

        The order is that of `config`: clients go newest first, then come in the order in which they stand there. No
        frame passes between old and new clients meanwhile. What a client does in `start` begins after all are wired.

        Raises:
            ConfigError, PluginError: `config` is wrong, which is found before anything is touched.
            ConfigError, HostError: A client's `init` refused, or the wiring found a ring of hubs that `config` hid.
            PluginImportError: An `init` raised anything else.

        When carrying it out fails, every client this call made is removed again, every client it removed is made again
        from its old options, with new counters and an empty queue, and the old peers are connected. Clients that are
        the same in both configurations run on in any case. What cannot be made again (the host has changed, an
        inherited fd is closed) is logged, noted on the exception, and no longer part of `self.config`.
        """
        topology = survey(config)
        for kind, table in dict.fromkeys((client.kind, client.table) for client in config.clients):
            self.registry.row(kind, table)
        running = {name: made for name, made in self._made.items() if name in self.network.clients}
        kept = [name for name, made in running.items() if self._may_stay(made, topology.clients.get(name))]
        gone, new = running.keys() - kept, topology.clients.keys() - kept
        peers = {client.name: client.peer.name for client in self.network.clients.values() if client.peer is not None}
        created: list[NetClient] = []
        with self.network.burst():
            try:
                for name in reversed(running):
                    if name in gone:
                        self.network.remove(self.network.clients[name])
                self._part(kept, topology.peers)
                for client in config.clients:
                    if client.name in new:  # no comprehension: the roll-back needs what was made so far
                        created.append(self._create(client))  # noqa: PERF401
                self._join(config.clients)
            except BaseException as error:
                for made in reversed(created):
                    self.network.remove(made)
                self._part(kept, peers)
                self._restore(running, error)
                raise
            self.network.carrier = config.carrier
            self.config, self._made = config, dict(topology.clients)
        self._start(created)
        if not self._up:
            self._up = True
            self.registry.hooks.network_up(network=self.network)

    def close(self) -> None:
        """Remove every client, the newest first, and tell the plugins. The loom can be used again."""
        if self._up:
            self._up = False
            self.registry.hooks.network_down(network=self.network)
        with self.network.burst():  # one rewire for all: nobody is left to hear the difference
            self.network.close()
        self._made.clear()
        self.config = NetworkConfig()

    def _may_stay(self, made: ClientConfig, wanted: ClientConfig | None) -> bool:
        return (
            wanted is not None
            and (made.kind, made.table, made.bus) == (wanted.kind, wanted.table, wanted.bus)
            and _same_but_for_peer(made.options, wanted.options)
            and self.network.clients[made.name].failure is None
        )

    def _create(self, client: ClientConfig) -> NetClient:
        """Make one client and take it in, or raise and leave nothing behind."""
        network = self.network
        peer = network.clients[client.netdev] if client.netdev is not None else None
        made: NetClient | None = None
        try:
            made = self.registry.init(
                client.kind, client.options, client.name, peer, network.context, table=client.table
            )
            made.kind = client.kind
            network.add(made, peer)
            if client.bus is not None:
                self._attach(client, client.bus, made)
        except BaseException as error:
            if made is not None and network.clients.get(made.name) is made:
                network.remove(made)
            elif made is not None:
                _close(made)
            network.release_strays()
            if isinstance(error, ConfigError):
                raise error.at(client.origin) from error.__cause__
            error.add_note(client.origin)
            raise
        return made

    def _attach(self, client: ClientConfig, bus: BusConfig, nic: NetClient) -> None:
        """Put a NIC into its guest, which it leaves when the network closes what the NIC owns."""
        from etherloom.device import NicModel  # only a network with a NIC needs the device kit

        model = self.registry.row(client.kind, client.table)
        if not isinstance(nic, NicModel) or not isinstance(model, NicModelKind):
            raise ConfigError(f"{client.kind!r} is no NIC model", key="bus", allowed="a NIC model")
        row = self.registry.bus(bus.kind)
        nic.port = self.network.own(nic, row.attach(bus.options, nic, model, self.network.context))

    def _part(self, names: Iterable[str], peers: Mapping[str, str]) -> None:
        """Disconnect whoever has a peer that is not its peer in `peers`."""
        for name in names:
            client = self.network.clients[name]
            if client.peer is not None and client.peer.name != peers.get(name):
                self.network.disconnect(client)

    def _join(self, wanted: Iterable[ClientConfig]) -> None:
        """Connect whoever is not connected yet to the peer it wants."""
        clients = self.network.clients
        for want in wanted:
            if want.netdev is not None and clients[want.name].peer is None:
                try:
                    self.network.connect(clients[want.name], clients[want.netdev])
                except ConfigError as error:  # a ring of hubs that only the wiring could see
                    raise error.at(want.origin) from error

    def _restore(self, running: Mapping[str, ClientConfig], error: BaseException) -> None:
        """Make again what is missing of `running`, and note on `error` what cannot be."""
        self._made = {}
        again: list[NetClient] = []
        for name, made in running.items():
            if made.netdev is not None and made.netdev not in self.network.clients:
                made = attrs.evolve(made, netdev=None)
            if name not in self.network.clients:
                try:
                    again.append(self._create(made))
                except EtherloomError as lost:
                    log.error("%s is lost: %s", name, lost)
                    error.add_note(f"{name!r} could not be made again: {lost}")
                    continue
            self._made[name] = made
        self._join(self._made.values())
        self.config = attrs.evolve(self.config, clients=tuple(self._made.values()))
        self._start(again)

    def _start(self, clients: Iterable[NetClient]) -> None:
        """Run what a client does in `start`, for as long as the client lives."""
        network = self.network
        for client in clients:
            if type(client).start is not NetClient.start and client.failure is None:
                task = network.loop.create_task(client.start(), name=f"start {client.name}")
                task.add_done_callback(partial(self._started, client))
                network.own(client, _Start(task))

    def _started(self, client: NetClient, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.network.fail(client, error)


class _Start:
    """A client's running `start`; cancelled when the network closes what the client owns."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def close(self) -> None:
        self._task.cancel()


def _same_but_for_peer(one: object, other: object) -> bool:
    """Whether two options objects ask for the same client; whose peer it is is another matter."""
    kind = type(one)
    if kind is not type(other) or not attrs.has(kind):
        return one == other
    names = [field.name for field in attrs.fields(kind) if field.eq and field.name != "netdev"]
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _close(client: NetClient) -> None:
    """Close a client that the network did not take in."""
    try:
        client.close()
    except Exception as error:
        log.error("%s: close failed: %s: %s", client.name, type(error).__name__, error, exc_info=error)

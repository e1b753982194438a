"""From named kinds and raw options to a `NetworkConfig`, the same for every spelling.

A parser adds the clients it reads, in any order; `finish` puts a `netdev` before whoever asks for it, gives addresses
to NICs that have none, checks who is whose peer, and lists what is legal and probably a mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import attrs

from etherloom.bundled import HUB_PORT
from etherloom.config.mac import UNSET, default_macs, machine_id
from etherloom.config.model import BusConfig, ClientConfig, NetworkConfig
from etherloom.config.names import first_free
from etherloom.config.options import GENERATED, describe, fill, names, plain, structure
from etherloom.config.topology import Topology, hub_of, survey
from etherloom.errors import ConfigError, PluginNotFound
from etherloom.owner import Mark

if TYPE_CHECKING:
    from etherloom.kinds import NetClientKind
    from etherloom.plugins.registry import Registry

__all__ = ["REMOVED", "Builder"]

# What QEMU had once and people still type (O-25, O-26, U-24).
REMOVED = {
    "vlan": "QEMU has no vlan= since 3.0: net clients share a segment through a hub",
    "name": "QEMU has no name= since 5.1",
}


class Builder:
    """A network under construction.

    Args:
        registry: Imports the kinds that are named.
        remedies: For each of `REMOVED`, how the parser's spelling says it now.

    Attributes:
        clients: What was added so far, by name.
    """

    def __init__(self, registry: Registry, remedies: Mapping[str, str]) -> None:
        self.registry = registry
        self._remedies = remedies
        self.clients: dict[str, ClientConfig] = {}
        self._without_mac: list[str] = []

    def row(self, kind: str, table: str, *, origin: str) -> NetClientKind:
        """The row of a kind.

        Raises:
            ConfigError: There is none; the registry says what to install. Chained from its PluginNotFound.
            PluginError: There is one, and it cannot be used.
        """
        try:
            return self.registry.row(kind, table)
        except PluginNotFound as error:
            raise ConfigError(str(error), origin=origin) from error

    def refuse_removed(self, key: str, *, origin: str) -> None:
        """Raise ConfigError with the way it is done now, if `key` is an option that QEMU had once."""
        if key in REMOVED:
            raise ConfigError(REMOVED[key], origin=origin, key=key, allowed=self._remedies[key])

    def add(
        self,
        kind: str,
        name: str | None,
        raw: Mapping[str, object],
        *,
        origin: str,
        flat: bool,
        table: str = "net_client",
    ) -> str:
        """Add one client.

        Args:
            kind: By which its row is found.
            name: Its id; None for a NIC that is to be called after its model (C-05).
            raw: Its options, as `etherloom.config.options.structure` takes them.
            origin: For messages.
            flat: Which spelling `raw` is in.
            table: Which table its row is in.

        Returns:
            Its name.

        Raises:
            ConfigError: The kind is unknown, the name is taken, or the options are wrong; nothing was added.
            PluginError: See `row`.
        """
        row = self.row(kind, table, origin=origin)
        for key in REMOVED:
            if key in raw and key not in {known.name for known in describe(row)}:
                self.refuse_removed(key, origin=origin)
        if name is None:
            earlier = sum(client.kind == kind and client.table == table for client in self.clients.values())
            name = first_free(kind.replace("{", "{{").replace("}", "}}") + ".{}", earlier, self.clients)
        elif name in self.clients:
            # Differs from QEMU (C-06): there a NIC may have the name of a backend.
            other = self.clients[name].origin
            raise ConfigError(f"{name!r} is taken by {other}", origin=origin, key="id", allowed="an id of its own")
        # A default address depends on the other NICs, so it has to wait for `finish`.
        lacks_mac = table == "nic_model" and "mac" not in raw and _takes_default_mac(row)
        bus = None
        if table == "nic_model" and "bus" in raw and "bus" not in names(row.options):
            raw, bus = self._split_bus(row, raw, origin=origin, flat=flat)
        options = structure(row, {**raw, "mac": str(UNSET)} if lacks_mac else raw, origin=origin, flat=flat)
        if lacks_mac:
            self._without_mac.append(name)
        netdev = getattr(options, "netdev", None)
        self.clients[name] = ClientConfig(name, kind, options, netdev, table, bus, origin)
        return name

    def _split_bus(
        self, row: NetClientKind, raw: Mapping[str, object], *, origin: str, flat: bool
    ) -> tuple[Mapping[str, object], BusConfig]:
        """Tell a NIC's own options from those of the guest bus it is on."""
        given = raw["bus"]
        kind = str(given[-1] if isinstance(given, list) else given)
        if re.fullmatch(r"pcie?\.\d+", kind):
            buses = ", ".join(self.registry.kinds("guest_bus"))
            problem = f"{kind!r} is a bus inside QEMU; a NIC model here is reached from outside"
            raise ConfigError(problem, origin=origin, key="bus", allowed=buses)
        try:
            bus = self.registry.bus(kind)
        except PluginNotFound as error:
            raise ConfigError(str(error), origin=origin, key="bus") from error
        known = names(row.options)
        own = {key: value for key, value in raw.items() if plain(key) in known}
        others = {key: value for key, value in raw.items() if plain(key) not in known and key != "bus"}
        what = f"{row.kind!r} on bus {kind!r}"
        return own, BusConfig(kind, fill(bus.options, others, what=what, origin=origin, flat=flat))

    def add_hub_port(self, hubid: int, netdev: str | None, *, origin: str) -> str:
        """Add a port to a hub, called `hub0port1` after the ports it has (C-05). Returns its name."""
        ports = sum(hub_of(client) == hubid for client in self.clients.values())
        name = first_free(f"hub{hubid}port{{}}", ports, self.clients)
        raw: dict[str, object] = {"hubid": hubid}
        if netdev is not None:
            raw["netdev"] = netdev
        return self.add(HUB_PORT, name, raw, origin=origin, flat=False)

    def finish(self, name: str = "", carrier: bool = False) -> NetworkConfig:
        """The whole network, checked.

        Args:
            name: See `NetworkConfig.name`.
            carrier: See `NetworkConfig.carrier`.

        Raises:
            ConfigError: Two clients cannot be wired as they ask (`etherloom.config.topology`).
        """
        clients = self._with_macs(_ordered(self.clients), name)
        config = NetworkConfig(name, tuple(clients), carrier)
        return attrs.evolve(config, warnings=tuple(_warnings(survey(config))))

    def _with_macs(self, clients: list[ClientConfig], instance: str) -> list[ClientConfig]:
        """Give an address to each NIC that has none (C-07, U-11)."""
        if not self._without_mac:
            return clients
        used = [
            client.options.mac for client in clients if client.table == "nic_model" and hasattr(client.options, "mac")
        ]
        macs = default_macs(self._without_mac, machine=machine_id(), instance=instance or str(Mark.mine()), used=used)
        return [
            attrs.evolve(client, options=attrs.evolve(client.options, mac=macs[client.name]))
            if client.name in macs
            else client
            for client in clients
        ]


def _takes_default_mac(row: NetClientKind) -> bool:
    """Whether the model has an option `mac` without a default of its own."""
    return any(known.name == "mac" and known.default == GENERATED for known in describe(row))


def _ordered(clients: Mapping[str, ClientConfig]) -> list[ClientConfig]:
    """As given, but a peer before who asks for it. An unknown or busy peer is left for `survey` to find.

    Differs from QEMU: there a `netdev=` that comes later on the command line is unknown.
    """
    ordered: dict[str, ClientConfig] = {}
    for client in clients.values():
        chain: dict[str, ClientConfig] = {}
        wanted: str | None = client.name
        while wanted is not None and wanted in clients and wanted not in ordered and wanted not in chain:
            chain[wanted] = clients[wanted]
            wanted = clients[wanted].netdev
        if wanted in chain and wanted != clients[wanted].netdev:  # a client that asks for itself is `survey`'s
            ring = [*list(chain)[list(chain).index(wanted) :], wanted]
            problem = f"each waits for the next: {' - '.join(ring)}"
            raise ConfigError(
                problem, origin=clients[wanted].origin, key="netdev", allowed="on one side of a pair only"
            )
        ordered.update(reversed(chain.items()))
    return list(ordered.values())


def _warnings(topology: Topology) -> Iterable[str]:
    """What QEMU warns of at start-up (C-09), and a hub that joins nobody.

    Differs from QEMU (C-09): a hub without NICs, or without backends, is not worth a warning here, where joining taps
    is a main job.
    """
    for client in topology.clients.values():
        if client.name not in topology.peers:
            what = "net client" if hub_of(client) is None else "hub port"
            yield f"{client.origin}: {what} {client.name!r} has no peer"
    for hubid, ports in topology.hubs.items():
        connected = [port for port in ports if port in topology.peers]
        if len(connected) == 1:
            yield f"hub {hubid} has one connected port, {connected[0]!r}: its frames go nowhere"

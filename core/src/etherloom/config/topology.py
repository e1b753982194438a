"""Who is whose peer in a configuration, and what is wrong with it: all that can be said without touching the host.

Two option names mean the same for every kind. `netdev` names the wanted peer, and `hubid` puts a client on the flooding
segment of that number (O-140); by it, rings of hubs are found before anything is made. A plugin that joins a segment by
another option is found out when it is wired.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from etherloom.config.model import ClientConfig, NetworkConfig
from etherloom.errors import ConfigError, nearest

__all__ = ["Topology", "hub_of", "survey"]


@attrs.frozen
class Topology:
    """A configuration that can be wired.

    Attributes:
        clients: By name, in the order in which they are made.
        peers: From name to name, in both directions.
        hubs: The ports of each hub by its number, in the order in which they are made.
    """

    clients: Mapping[str, ClientConfig]
    peers: Mapping[str, str]
    hubs: Mapping[int, tuple[str, ...]]


def hub_of(client: ClientConfig) -> int | None:
    """The number of the hub that a client is a port of; None for what is no hub port."""
    hubid = getattr(client.options, "hubid", None)
    return hubid if isinstance(hubid, int) else None


def survey(config: NetworkConfig) -> Topology:
    """Find out who is whose peer.

    Raises:
        ConfigError: At the origin of the first client that cannot be wired: its name is taken (C-06), its peer is
            unknown, is made after it, is itself or has a peer already (C-03; for a hub port QEMU aborts, O-141), or it
            patches hubs together in a ring (C-66 kills QEMU).
    """
    names = {client.name for client in config.clients}
    clients: dict[str, ClientConfig] = {}
    peers: dict[str, str] = {}
    hubs: dict[int, list[str]] = {}
    patches: dict[int, list[int]] = {}
    for client in config.clients:
        if client.name in clients:
            raise ConfigError(f"the id {client.name!r} is taken", origin=client.origin, key="id", allowed="a unique id")
        if client.netdev is not None:
            _check_peer(client, client.netdev, clients, names, peers)
            peers[client.name], peers[client.netdev] = client.netdev, client.name
            one, other = hub_of(client), hub_of(clients[client.netdev])
            if one is not None and other is not None:
                if way := _way(patches, one, other):
                    ring = " - ".join(f"hub {hubid}" for hubid in [*way, way[0]])
                    raise ConfigError(f"{client.netdev!r} closes a ring: {ring}", origin=client.origin, key="netdev")
                patches.setdefault(one, []).append(other)
                patches.setdefault(other, []).append(one)
        clients[client.name] = client
        hubid = hub_of(client)
        if hubid is not None:
            hubs.setdefault(hubid, []).append(client.name)
    return Topology(clients, peers, {hubid: tuple(ports) for hubid, ports in hubs.items()})


def _check_peer(
    client: ClientConfig, wanted: str, made: Mapping[str, ClientConfig], names: set[str], peers: Mapping[str, str]
) -> None:
    problem, allowed = "", ""
    if wanted == client.name:
        problem = f"{wanted!r} cannot be its own peer"
    elif wanted not in names:
        problem = f"there is no net client {wanted!r}"
        allowed = nearest(wanted, names) or _list(names - {client.name} - peers.keys())
    elif wanted not in made:
        problem, allowed = f"{wanted!r} comes later", "a client made before this one"
    elif wanted in peers:
        problem = f"{wanted!r} is connected to {peers[wanted]!r} already"
        allowed = _list(made.keys() - peers.keys())
    if problem:
        raise ConfigError(problem, origin=client.origin, key="netdev", allowed=allowed)


def _list(names: set[str], at_most: int = 8) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:at_most]) + (f" and {len(ordered) - at_most} more" if len(ordered) > at_most else "")


def _way(patches: Mapping[int, list[int]], start: int, end: int) -> list[int]:
    """The hubs on the way from `start` to `end`, both included; empty if there is none."""
    ways = [[start]]
    for way in ways:  # grows while it is walked; the patches so far form a forest, so this ends
        if way[-1] == end:
            return way
        before = way[-2] if len(way) > 1 else None
        ways.extend([*way, hubid] for hubid in patches.get(way[-1], ()) if hubid != before)
    return []

"""A network as passive data: what the parsers produce and `Loom.apply` carries out."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["BusConfig", "ClientConfig", "NetworkConfig"]


@attrs.frozen
class BusConfig:
    """The guest bus a NIC is to be on: its kind, and an instance of its row's options class."""

    kind: str
    options: Any


@attrs.frozen
class ClientConfig:
    """One net client to be.

    Attributes:
        name: Its id, or a generated name (C-05); unique in the network.
        kind: The kind, by which its row is found.
        options: An instance of the row's options class; two equal ones need no change.
        netdev: The name of the client it wants as its peer, or None.
        table: Which table its row is in: `net_client` or `nic_model`.
        bus: For a NIC, how a guest reaches it; None for one that no guest has.
        origin: For messages: `-netdev tap,id=a` or `lab.toml: [netdev.a]`. Not compared.
    """

    name: str
    kind: str
    options: Any
    netdev: str | None = None
    table: str = "net_client"
    bus: BusConfig | None = None
    origin: str = attrs.field(default="", eq=False)


@attrs.frozen
class NetworkConfig:
    """A whole network.

    Attributes:
        name: The instance's name; default MAC addresses derive from it (U-11). Empty: from the process.
        clients: In the order in which they are made; whoever is a `netdev` comes before who asks for it.
        carrier: Propagate a backend's carrier to its NIC (U-01).
        warnings: What is legal and probably a mistake (C-09), one line each. Not compared.
    """

    name: str = ""
    clients: tuple[ClientConfig, ...] = ()
    carrier: bool = False
    warnings: tuple[str, ...] = attrs.field(default=(), eq=False)

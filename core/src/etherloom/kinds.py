"""The rows of the plugin tables: what a distribution says about each kind it owns.

An entry point in group `etherloom.net_client.v0` (or one of its siblings below) has the kind as its name and a row as
its value, as each backend has one row in QEMU's table of `net_client_init` functions. The group's suffix is the
generation of the contract: core finds rows of its own generation and names those of any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from etherloom.client import NetClient
    from etherloom.context import Context

__all__ = ["GENERATION", "GROUPS", "NetClientKind", "group_of"]

GENERATION = "v0"

GROUPS = ("net_client", "nic_model", "guest_bus", "filter")
"""The tables, without prefix and generation."""


def group_of(table: str, generation: str = GENERATION) -> str:
    """The entry-point group of a table: `net_client` gives `etherloom.net_client.v0`."""
    return f"etherloom.{table}.{generation}"


@attrs.frozen(kw_only=True)
class NetClientKind:
    """One row: a kind of net client. NIC models use the same row in their own group.

    Attributes:
        kind: The name a config uses; equal to the entry point's name.
        options: A frozen attrs class; field names are QEMU's option names with `-` as `_`. See
            `etherloom.config.options` for what a field may say about itself.
        init: `init(options, name, peer, context) -> NetClient`: validates and opens, non-blocking. `peer` is the
            client that the options' `netdev` names, or None. Raises ConfigError or HostError and leaves nothing behind.
        summary: One line of what it is, without a full stop.
        privilege: What it needs of the host: "CAP_NET_ADMIN, or an inherited fd"; empty for none.
        hooks: An object or module with implementations of `etherloom.plugins.hookspecs`, or None. Rows may share one.
    """

    kind: str
    options: type[Any]
    init: Callable[[Any, str, NetClient | None, Context], NetClient]
    summary: str
    privilege: str = ""
    hooks: object = None

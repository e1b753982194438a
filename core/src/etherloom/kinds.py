"""The rows of the plugin tables: what a distribution says about each kind it owns.

An entry point in group `etherloom.net_client.v0` (or one of its siblings below) has the kind as its name and a row as
its value, as each backend has one row in QEMU's table of `net_client_init` functions. The group's suffix is the
generation of the contract: core finds rows of its own generation and names those of any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import attrs

if TYPE_CHECKING:
    from etherloom.client import NetClient
    from etherloom.context import Context
    from etherloom.device import NicModel
    from etherloom.guest import InlineGuest, NicDriver

__all__ = ["GENERATION", "GROUPS", "GuestBusKind", "GuestPort", "NetClientKind", "NicModelKind", "group_of"]

GENERATION = "v0"

GROUPS = ("net_client", "nic_model", "guest_bus", "filter")
"""The tables, without prefix and generation."""


def group_of(table: str, generation: str = GENERATION) -> str:
    """The entry-point group of a table: `net_client` gives `etherloom.net_client.v0`."""
    return f"etherloom.{table}.{generation}"


@attrs.frozen(kw_only=True)
class NetClientKind:
    """One row: a kind of net client.

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


@attrs.frozen(kw_only=True)
class NicModelKind(NetClientKind):
    """One row of table `nic_model`: `init` returns an `etherloom.device.NicModel`.

    Attributes:
        driver: The model's reference driver, for a guest that is Python code (bus `inline`) and for the conformance
            check; None if it has none.
    """

    driver: Callable[[InlineGuest], NicDriver] | None = None


class GuestPort(Protocol):
    """A device's place in a guest."""

    @property
    def info(self) -> str:
        """For tables, as `NetClient.info`."""

    def close(self) -> None:
        """Take the device out of the guest."""


@attrs.frozen(kw_only=True)
class GuestBusKind:
    """One row of table `guest_bus`: a way in which a guest reaches a NIC model.

    Attributes:
        kind, options, summary, privilege, hooks: See `NetClientKind`.
        attach: `attach(options, nic, model, context) -> GuestPort`: puts `nic`, which is in its network already and
            whose row is `model`, into a guest. Raises ConfigError or HostError and leaves nothing behind.
        qemu_device: `qemu_device(options)`: QEMU's `-device`, as JSON has it, by which a QEMU that shares its memory
            reaches the NIC, for `etherloom boot`; None if QEMU does not come to this bus.
    """

    kind: str
    options: type[Any]
    attach: Callable[[Any, NicModel, NicModelKind, Context], GuestPort]
    summary: str
    privilege: str = ""
    hooks: object = None
    qemu_device: Callable[[Any], Mapping[str, object]] | None = None

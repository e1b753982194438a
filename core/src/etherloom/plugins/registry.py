"""The plugin tables: every kind that is installed, by name.

The index comes from the distributions' metadata; a plugin is imported when its row is asked for, and its hooks are
registered then. So a network runs with the plugins its configuration names and no others.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, TypeAlias

import attrs

from etherloom.client import NetClient
from etherloom.context import Context
from etherloom.errors import ContractMismatch, EtherloomError, PluginImportError, UsageError
from etherloom.kinds import GROUPS, GuestBusKind, NetClientKind, NicModelKind
from etherloom.plugins import refusals
from etherloom.plugins.hooks import HookObserver, Hooks, InitHook
from etherloom.plugins.offers import Offer, given, installed
from etherloom.plugins.trace import Tracer

__all__ = ["KindInfo", "Registry", "Status"]


class Status(StrEnum):
    """What became of an offer."""

    OK = "ok"
    BLOCKED = "blocked"  # by ETHERLOOM_PLUGINS or ETHERLOOM_BLOCK
    CONFLICT = "conflict"  # two distributions own the kind
    FAILED = "failed"  # did not import, or is not what the contract asks for
    OTHER_GENERATION = "other-generation"  # of the contract, or a group that core does not have


@attrs.frozen
class KindInfo:
    """One line of the plugins' list; `attrs.asdict` makes JSON of it.

    Attributes:
        kind, table, distribution, version, generation: See `Offer`.
        status: Whether it can be used.
        privilege, summary: From the row; empty if there is none to ask.
        problem: What is wrong and what would be right, in one line; empty if nothing is.
    """

    kind: str
    table: str
    distribution: str
    version: str
    generation: str
    status: Status
    privilege: str = ""
    summary: str = ""
    problem: str = ""


Row: TypeAlias = NetClientKind | GuestBusKind

ROWS: dict[str, type[NetClientKind] | type[GuestBusKind]] = {"nic_model": NicModelKind, "guest_bus": GuestBusKind}
"""What a table has for rows, where it is not NetClientKind."""


@attrs.frozen
class _Loaded:
    row: Row
    init: Any = None  # pluggy's caller of the row's own net_client_init, if it makes net clients


class Registry:
    """Finds rows by kind, makes net clients of them, and tells their plugins what happens.

    Args:
        rows: Net client kinds of the embedding program.
        nic_models: NIC models of the embedding program.
        guest_buses: Its guest buses.
        tracer: Told of every hook call; by default what ETHERLOOM_TRACE says.

    Attributes:
        hooks: `hooks.network_up(network=network)` tells every plugin that was loaded so far.
        observer: For `Network.observers`: tells the plugins what the network tells it.

    Raises:
        ConfigError: ETHERLOOM_TRACE names a file that cannot be written.
    """

    def __init__(
        self,
        rows: Sequence[NetClientKind] = (),
        *,
        nic_models: Sequence[NicModelKind] = (),
        guest_buses: Sequence[GuestBusKind] = (),
        tracer: Tracer | None = None,
    ) -> None:
        self._offers = [
            *given(rows, "net_client"),
            *given(nic_models, "nic_model"),
            *given(guest_buses, "guest_bus"),
        ]
        self._loaded: dict[tuple[str, str], _Loaded] = {}
        self.hooks = Hooks(tracer or Tracer.from_environment(os.environ))
        self.observer = HookObserver(self.hooks)

    @classmethod
    def discover(cls, path: Sequence[str] | None = None, *, tracer: Tracer | None = None) -> Registry:
        """Everything installed, less what ETHERLOOM_PLUGINS and ETHERLOOM_BLOCK keep out. Imports no plugin.

        Args:
            path: Where to look for distributions; `sys.path` if None.
            tracer: See the class.
        """
        registry = cls(tracer=tracer)
        registry._offers = installed(path)
        return registry

    def kinds(self, table: str = "net_client") -> list[str]:
        """The kinds of one table that may be asked for, sorted. Imports no plugin."""
        return sorted({offer.kind for offer in self._offers if offer.table == table and offer.usable})

    def row(self, kind: str, table: str = "net_client") -> NetClientKind:
        """The row of a kind. Imports its plugin, and registers its hooks, on first use.

        Raises:
            PluginNotFound: Nobody owns the kind, or it is blocked.
            PluginConflict: Several distributions own it.
            PluginImportError: Its import failed; chained from the cause.
            ContractMismatch: It is for another generation of the contract, or breaks this one: its value is no row, its
                row is of another kind, its hooks are none.
        """
        row = self._load(kind, table).row
        if isinstance(row, GuestBusKind):
            raise UsageError(f"{kind!r} is a guest bus; ask for it by `bus`")
        return row

    def bus(self, kind: str) -> GuestBusKind:
        """The row of a guest bus; see `row`."""
        row = self._load(kind, "guest_bus").row
        if not isinstance(row, GuestBusKind):
            raise UsageError(f"{kind!r} is no guest bus")
        return row

    def init(
        self,
        kind: str,
        options: object,
        name: str,
        peer: NetClient | None,
        context: Context,
        *,
        table: str = "net_client",
    ) -> NetClient:
        """Make a net client: calls `net_client_init` on the row that owns the kind.

        Args:
            kind: See `row`.
            options: An instance of the row's options class.
            name: The client's name.
            peer: The client that `netdev` names, or None.
            context: The network's.
            table: See `row`.

        Returns:
            The client, neither added to the network nor connected.

        Raises:
            EtherloomError: As the plugin raised it, or as `row` does.
            PluginImportError: The plugin raised something else; chained from it.
            ContractMismatch: It returned something else.
        """
        loaded = self._load(kind, table)
        try:
            client = loaded.init(kind=kind, options=options, name=name, peer=peer, context=context)
        except EtherloomError:
            raise
        except Exception as error:
            problem = f"init of {kind!r} failed for {name!r}: {_said(error)}"
            raise self._choose(kind, table).error(PluginImportError, problem) from error
        if not isinstance(client, NetClient):
            problem = f"init of {kind!r} returned {client!r} for {name!r}; right is a NetClient"
            raise self._choose(kind, table).error(ContractMismatch, problem)
        return client

    def describe(self) -> list[KindInfo]:
        """Every offer, whatever is wrong with it, sorted by table and kind. Imports all plugins; never raises."""
        order = {table: index for index, table in enumerate(GROUPS)}
        offers = sorted(
            self._offers, key=lambda offer: (order.get(offer.table, len(order)), offer.table, offer.kind, offer.owner)
        )
        return [self._describe(offer) for offer in offers]

    def _describe(self, offer: Offer) -> KindInfo:
        row: Row | None = None
        error: Exception | None = None
        owners = self._owners(offer.kind, offer.table)
        if offer.blocked:
            status, error = Status.BLOCKED, refusals.blocked(offer)
        elif not offer.usable:
            status = Status.OTHER_GENERATION
            error = refusals.foreign(offer) if offer.foreign else refusals.other_generation(offer)
        elif len(owners) > 1:
            status, error = Status.CONFLICT, refusals.conflict(owners)
        else:
            try:
                row, status = self._load(offer.kind, offer.table).row, Status.OK
            except Exception as failure:  # also from a plugin's own __repr__, on the way to a message
                status, error = Status.FAILED, failure
        return KindInfo(
            kind=offer.kind,
            table=offer.table,
            distribution=offer.distribution,
            version=offer.version,
            generation=offer.generation,
            status=status,
            privilege=row.privilege if row is not None else "",
            summary=row.summary if row is not None else "",
            problem=str(error or ""),
        )

    def _owners(self, kind: str, table: str) -> list[Offer]:
        return [offer for offer in self._offers if offer.kind == kind and offer.table == table and offer.usable]

    def _choose(self, kind: str, table: str) -> Offer:
        owners = self._owners(kind, table)
        if not owners:
            raise refusals.refusal(kind, table, self._offers)
        if len(owners) > 1:
            raise refusals.conflict(owners)
        return owners[0]

    def _load(self, kind: str, table: str) -> _Loaded:
        loaded = self._loaded.get((table, kind))
        if loaded is None:
            offer = self._choose(kind, table)
            row = _row_of(offer)
            if row.hooks is not None:
                self.hooks.register(row.hooks, offer)
            if isinstance(row, GuestBusKind):
                loaded = _Loaded(row)
            else:
                loaded = _Loaded(row, self.hooks.manager(InitHook(row.init), offer).hook.net_client_init)
            self._loaded[table, kind] = loaded
        return loaded


def _row_of(offer: Offer) -> Row:
    row: object = offer.given
    if offer.entry_point is not None:
        from etherloom.plugins.loading import load  # stevedore: only with something to load

        try:
            row = load(offer.entry_point)
        except (Exception, SystemExit) as error:
            problem = f"{offer.kind!r} ({offer.entry_point.value}) cannot be imported: {_said(error)}"
            raise offer.error(PluginImportError, problem) from error
    wanted = ROWS.get(offer.table, NetClientKind)
    if not isinstance(row, wanted):
        problem = f"{offer.kind!r} names {row!r}; right is a {wanted.__name__}, which {offer.group} has for rows"
        raise offer.error(ContractMismatch, problem)
    if row.kind != offer.kind:
        problem = f"entry point {offer.kind!r} names the row of kind {row.kind!r}; right is one name for both"
        raise offer.error(ContractMismatch, problem)
    return row


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")

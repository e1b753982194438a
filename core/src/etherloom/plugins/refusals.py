"""Why a kind cannot be had, and what would have been right: one error for each way a name can fail."""

from __future__ import annotations

from collections.abc import Sequence

from etherloom.bundled import DISTRIBUTIONS
from etherloom.errors import ContractMismatch, PluginConflict, PluginError, PluginNotFound, nearest
from etherloom.kinds import GENERATION, GROUPS, group_of
from etherloom.plugins.offers import Offer

__all__ = ["blocked", "conflict", "foreign", "other_generation", "refusal"]

_CALLED = {"net_client": "net client", "nic_model": "NIC model", "guest_bus": "guest bus", "filter": "filter"}


def refusal(kind: str, table: str, offers: Sequence[Offer]) -> PluginError:
    """The error for a kind that no usable offer has; the nearest miss among `offers` explains it."""
    same_kind = [offer for offer in offers if offer.kind == kind]
    for offer in same_kind:
        if offer.table == table and offer.generation == GENERATION:
            return blocked(offer)
    for offer in same_kind:
        if offer.table == table and not offer.foreign:
            return other_generation(offer)
    for offer in same_kind:
        if offer.foreign:
            return foreign(offer)
    for offer in same_kind:
        return offer.error(PluginNotFound, f"{kind!r} is a {_CALLED[offer.table]}, not a {_CALLED[table]}")
    return _unknown(kind, table, offers)


def blocked(offer: Offer) -> PluginError:
    """The environment keeps the plugin out."""
    return offer.error(PluginNotFound, f"{_CALLED.get(offer.table, offer.table)} {offer.kind!r} is {offer.blocked}")


def conflict(offers: Sequence[Offer]) -> PluginError:
    """Several distributions own one kind."""
    first = offers[0]
    owners = " and ".join(offer.owner for offer in offers)
    choices = " or ".join(f"ETHERLOOM_BLOCK={offer.distribution}" for offer in offers if offer.distribution)
    remedy = f"; uninstall all but one, or choose with {choices}" if choices else ""
    return PluginConflict(f"{_CALLED[first.table]} {first.kind!r} is owned by {owners}{remedy}", kind=first.kind)


def other_generation(offer: Offer) -> PluginError:
    """The plugin is for an older or a newer core."""
    newer = int(offer.generation[1:]) > int(GENERATION[1:])
    remedy = "upgrade etherloom" if newer else f"upgrade {offer.distribution}"
    spoken = f"speaks {offer.group}, and this core {group_of(offer.table)}"
    return offer.error(ContractMismatch, f"{_CALLED[offer.table]} {offer.kind!r} {spoken}; {remedy}")


def foreign(offer: Offer) -> PluginError:
    """The entry point is in a group that core does not have."""
    groups = [group_of(table) for table in GROUPS]
    hint = nearest(offer.group, groups) or f"the groups are {', '.join(groups)}"
    return offer.error(
        ContractMismatch, f"{offer.kind!r} is in entry-point group {offer.group!r}, which is none; {hint}"
    )


def _unknown(kind: str, table: str, offers: Sequence[Offer]) -> PluginError:
    installed = sorted({offer.kind for offer in offers if offer.table == table and offer.usable})
    there = {(offer.table, offer.kind) for offer in offers}
    hints = []
    if owner := DISTRIBUTIONS.get((table, kind)):
        hints.append(f"it comes with {owner}: pip install {owner}")
    elif near := nearest(kind, installed):
        hints.append(near)
    elif near := nearest(kind, [name for place, name in DISTRIBUTIONS.keys() - there if place == table]):
        hints.append(f"{near} (not installed)")
    hints.append(f"installed: {', '.join(installed) or 'none'}")
    return PluginNotFound(f"there is no {_CALLED[table]} {kind!r}; {'; '.join(hints)}", kind=kind)

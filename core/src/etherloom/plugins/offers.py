"""What the installed distributions offer, read from their metadata alone: nothing of a plugin is imported here.

`importlib.metadata` is asked, not stevedore: stevedore's entry points have lost their distribution, and its cache on
disk, keyed on modification times as 32-bit floats (128 s apart these days), can hide a kind that an upgrade brought.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import TypeVar

import attrs

from etherloom.errors import PluginError, nearest
from etherloom.kinds import GENERATION, GROUPS, GuestBusKind, NetClientKind, group_of

__all__ = ["Filter", "Offer", "given", "installed"]

log = logging.getLogger("etherloom")

PREFIX = "etherloom."

Error = TypeVar("Error", bound=PluginError)


@attrs.frozen(eq=False)
class Offer:
    """A kind that somebody offers, in one generation of the contract.

    Attributes:
        kind: The entry point's name.
        group: The entry point's group, as written.
        distribution: Whose it is; empty for a row that the embedding program gave.
        version: Of the distribution.
        entry_point: Where the row is; None for a given row.
        given: The row itself, if the embedding program gave it.
        blocked: Why it may not be used; empty if it may.
    """

    kind: str
    group: str
    distribution: str = ""
    version: str = ""
    entry_point: EntryPoint | None = None
    given: NetClientKind | GuestBusKind | None = None
    blocked: str = ""

    @property
    def table(self) -> str:
        """The group without prefix and generation."""
        return self._parts[0]

    @property
    def generation(self) -> str:
        """Of the contract: `v0`; empty if the group names none."""
        return self._parts[1]

    @property
    def foreign(self) -> bool:
        """The group is none that core reads in any generation."""
        return self.table not in GROUPS or not self.generation

    @property
    def usable(self) -> bool:
        """Nothing is known against it, short of importing it."""
        return not self.blocked and self.table in GROUPS and self.generation == GENERATION

    @property
    def label(self) -> str:
        """For logs: `tap [etherloom-tap 0.1.0]`."""
        return f"{self.kind} [{self.owner}]"

    @property
    def owner(self) -> str:
        """For lists: `etherloom-tap 0.1.0`."""
        return f"{self.distribution} {self.version}".strip() or "the embedding program"

    def error(self, error: type[Error], problem: str) -> Error:
        """An error about this offer."""
        return error(problem, kind=self.kind, distribution=self.distribution, version=self.version)

    @property
    def _parts(self) -> tuple[str, str]:
        table, _, generation = self.group.removeprefix(PREFIX).rpartition(".")
        return (table, generation) if re.fullmatch(r"v\d+", generation) else (self.group.removeprefix(PREFIX), "")


@attrs.frozen
class Filter:
    """Which plugins may be used: ETHERLOOM_PLUGINS (only these) and ETHERLOOM_BLOCK (not these).

    Both are lists of kinds and distributions, separated by commas. An empty variable is none.

    Attributes:
        allow: The first list, as written.
        block: The second.
    """

    allow: frozenset[str] = frozenset()
    block: frozenset[str] = frozenset()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Filter:
        """The filter that the two variables make."""
        return cls(_words(environment.get("ETHERLOOM_PLUGINS", "")), _words(environment.get("ETHERLOOM_BLOCK", "")))

    def reason(self, kind: str, distribution: str) -> str:
        """What keeps a kind from being used; empty if nothing does."""
        names = {kind, _normal(distribution)}
        if hits := names & _spellings(self.block):
            return f"blocked by ETHERLOOM_BLOCK, which names {', '.join(map(repr, sorted(hits)))}"
        if self.allow and not names & _spellings(self.allow):
            return "blocked by ETHERLOOM_PLUGINS, which names neither the kind nor its distribution"
        return ""

    def warn_of_strangers(self, offers: Sequence[Offer]) -> None:
        """Log each word that is nobody's name: most often it is misspelt, and keeps nothing out."""
        known = {name for offer in offers for name in (offer.kind, _normal(offer.distribution))}
        for variable, words in (("ETHERLOOM_PLUGINS", self.allow), ("ETHERLOOM_BLOCK", self.block)):
            for word in sorted(words):
                if not known & _spellings({word}):
                    hint = f"; {near}" if (near := nearest(word, known)) else ""
                    log.warning("%s names %r, which is no installed kind or distribution%s", variable, word, hint)


def _words(value: str) -> frozenset[str]:
    """The entries of a list separated by commas."""
    return frozenset(word.strip() for word in value.split(",")) - {""}


def _spellings(words: Collection[str]) -> set[str]:
    """The words as kinds and as distributions."""
    return {*words, *map(_normal, words)}


def installed(path: Sequence[str] | None = None, rule: Filter | None = None) -> list[Offer]:
    """Every offer of every distribution, in the order of the search path.

    Of two distributions with one name the first on the path counts, as for an import (an editable install can be seen
    twice). A distribution whose metadata cannot be read is logged and left out.

    Args:
        path: Where to look; `sys.path` if None.
        rule: Says what is blocked; by the environment if None.
    """
    rule = Filter.from_environment() if rule is None else rule
    offers: dict[str, list[Offer]] = {}
    for distribution in distributions() if path is None else distributions(path=list(path)):
        try:
            # Parsing metadata costs 0.7 ms a distribution, and most have nothing to do with us.
            if PREFIX not in (distribution.read_text("entry_points.txt") or ""):
                continue
            metadata = distribution.metadata
            name, version = metadata["Name"], metadata["Version"]
            if _normal(name) not in offers:
                offers[_normal(name)] = _offers_of(distribution, name, version, rule)
        except Exception as error:
            where = distribution.locate_file("")
            log.warning("a distribution in %s is left out, its metadata cannot be read: %r", where, error)
    found = [offer for own in offers.values() for offer in own]
    rule.warn_of_strangers(found)
    return found


def given(rows: Sequence[NetClientKind | GuestBusKind], table: str) -> list[Offer]:
    """Offers of an embedding program's own rows."""
    return [Offer(kind=row.kind, group=group_of(table), given=row) for row in rows]


def _offers_of(distribution: Distribution, name: str, version: str, rule: Filter) -> list[Offer]:
    return [
        Offer(
            kind=entry_point.name,
            group=entry_point.group,
            distribution=name,
            version=version,
            entry_point=entry_point,
            blocked=rule.reason(entry_point.name, name),
        )
        for entry_point in distribution.entry_points
        if entry_point.group.startswith(PREFIX)
    ]


def _normal(distribution: str) -> str:
    """A distribution's name as the packaging tools compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()

"""What happens to a running network, one event at a time: as a line of text, as a line of JSON, or in the table.

Events, by name: `start`, `warning`, `ready`, `link`, `failed`, `drops`, `added`, `removed`, `reloaded`, `refused`,
`stop`, and with JSON `end`.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import attrs

from etherloom.cli.snapshot import reasons

if TYPE_CHECKING:
    from etherloom.client import NetClient
    from etherloom.counters import Drop
    from etherloom.net.network import Network

__all__ = ["DropWatch", "Event", "EventLog", "Lines"]

# Drops are looked for every second, and one client is spoken of every ten: a client that loses frames all the time then
# costs 6 lines a minute, and one that loses its first is reported while it matters.
DROPS_EVERY_S = 1.0
DROPS_AGAIN_NS = 10_000_000_000


@attrs.frozen
class Event:
    """Something that happened.

    Attributes:
        at_s: Seconds since the run began.
        name: What it is, for programs.
        text: What it is, for people.
        fields: Its particulars, as JSON can carry them.
    """

    at_s: float
    name: str
    text: str
    fields: Mapping[str, Any]

    @property
    def line(self) -> str:
        """For people, without a newline."""
        return f"{self.at_s:9.3f}  {self.name:<8}  {self.text}"

    @property
    def json(self) -> str:
        """For programs, without a newline."""
        return json.dumps({"event": self.name, "at_s": round(self.at_s, 6), "text": self.text, **self.fields})


class EventLog:
    """Tells a sink what the network's observers are told.

    What is said before `begin` is kept, with its time, and passed on then: of a network that cannot be made there is
    nothing to tell but why.

    Args:
        sink: Called with each event.
        now_ns: The clock.
    """

    def __init__(self, sink: Callable[[Event], None], now_ns: Callable[[], int]) -> None:
        self._sink, self._now_ns = sink, now_ns
        self._begin_ns = now_ns()
        self._kept: list[Event] | None = []
        self.quiet = True  # while the network is built up or torn down, clients come and go without a word

    def say(self, name: str, text: str, **fields: Any) -> None:
        """Pass on one event."""
        event = Event((self._now_ns() - self._begin_ns) / 1e9, name, text, fields)
        if self._kept is None:
            self._sink(event)
        else:
            self._kept.append(event)

    def begin(self) -> None:
        """The network is up."""
        kept, self._kept, self.quiet = self._kept or [], None, False
        for event in kept:
            self._sink(event)

    def net_client_added(self, client: NetClient) -> None:
        if not self.quiet:
            self.say("added", f"{client.name} ({client.kind}) is added", client=client.name, kind=client.kind)

    def net_client_removed(self, client: NetClient) -> None:
        if not self.quiet:
            self.say("removed", f"{client.name} is removed", client=client.name)

    def net_client_failed(self, client: NetClient) -> None:
        error = f"{type(client.failure).__name__}: {client.failure}"
        self.say("failed", f"{client.name} is taken down: {error}", client=client.name, error=error)

    def link_changed(self, client: NetClient) -> None:
        state = "up" if client.link_up else "down"
        self.say("link", f"{client.name}: link {state}", client=client.name, link=state)


class DropWatch:
    """Reports clients that lose frames, each at a limited rate. Runs from `start` to `close`."""

    def __init__(self, network: Network, log: EventLog) -> None:
        self._network, self._log = network, log
        self._told: dict[NetClient, tuple[int, dict[Drop, int]]] = {}  # when, and the counts then
        self._timer = network.loop.call_later(DROPS_EVERY_S, self._look)

    def close(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        self._timer = self._network.loop.call_later(DROPS_EVERY_S, self._look)
        self._network.settle()
        now_ns = self._network.context.clock.now_ns()
        for client in self._network.clients.values():
            drops = client.counters.drops
            if not drops:
                continue
            when_ns, before = self._told.get(client, (now_ns - DROPS_AGAIN_NS, {}))
            if drops != before and now_ns - when_ns >= DROPS_AGAIN_NS:
                risen = {reason.value: count - before.get(reason, 0) for reason, count in sorted(drops.items())}
                risen = {reason: count for reason, count in risen.items() if count}
                self._told[client] = now_ns, dict(drops)
                self._log.say("drops", f"{client.name} dropped {reasons(risen)}", client=client.name, drops=risen)


class Lines:
    """A sink that writes one line per event.

    Args:
        stream: Where to; flushed with every line, so that a pipe's reader sees it at once.
        as_json: JSON objects instead of text.
        broken: Called once when nobody reads any more; nothing is written after that.
    """

    def __init__(self, stream: TextIO, *, as_json: bool, broken: Callable[[], None]) -> None:
        self._stream, self._as_json, self._broken = stream, as_json, broken
        self._open = True

    def __call__(self, event: Event) -> None:
        if not self._open:
            return
        try:
            self._stream.write((event.json if self._as_json else event.line) + "\n")
            self._stream.flush()
        except OSError as error:
            if not isinstance(error, BrokenPipeError) and error.errno != errno.EIO:  # EIO: a terminal that has gone
                raise
            self._open = False
            if self._stream is sys.stdout:  # what is left in its buffer would fail again at exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._broken()

"""What a run of the demo found out, and the words for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import attrs

from etherloom_tap.lab import InterfaceCounters

__all__ = ["Client", "Outcome", "Pings", "Stream", "summary"]


@attrs.frozen
class Pings:
    """Round trips, in microseconds, of as many echo requests as were sent."""

    sent: int
    round_trips_us: Sequence[float]

    @property
    def lost(self) -> int:
        """Requests that nobody answered."""
        return self.sent - len(self.round_trips_us)

    def percentile_us(self, percent: float) -> float:
        """The round trip that `percent` of all do not exceed (nearest rank); NaN if there is none."""
        if not self.round_trips_us:
            return math.nan
        ordered = sorted(self.round_trips_us)
        return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


@attrs.frozen
class Stream:
    """What arrived of one stream."""

    octets: int
    seconds: float

    @property
    def gbps(self) -> float:
        """Gbit/s."""
        return self.octets * 8 / self.seconds / 1e9


@attrs.frozen
class Client:
    """A net client's counters at the end; `tx` is into the network."""

    name: str
    kind: str
    tx_frames: int
    tx_bytes: int
    rx_frames: int
    rx_bytes: int
    drops: str


@attrs.frozen
class Outcome:
    """One run.

    Attributes:
        refused: What the host refused; empty if the kernel's own stacks were at work.
        transport: What the stream was: `one TCP stream`, or `frames of 1,514 bytes` between memory peers.
        idle: Round trips on an idle network.
        loaded: Round trips while the stream ran.
        stream: The stream.
        clients: By name.
        interfaces: The kernel's counters, by namespace and interface: `lan/eth0`. Empty between memory peers.
    """

    refused: str
    transport: str
    idle: Pings
    loaded: Pings
    stream: Stream
    clients: Mapping[str, Client]
    interfaces: Mapping[str, InterfaceCounters]


def summary(outcome: Outcome) -> Iterator[str]:
    """The lines that end the demo."""
    who = "memory peers" if outcome.refused else "LAN to guest side, the kernel's own stacks"
    yield f"{who}, through uplink - hub 0 - guest"
    yield ""
    yield f"  {'ping, us':<16}{'p50':>8}{'p90':>8}{'p99':>8}{'lost':>14}"
    for name, pings in ("idle", outcome.idle), ("under load", outcome.loaded):
        figures = "".join(f"{pings.percentile_us(percent):>8.0f}" for percent in (50, 90, 99))
        yield f"  {name:<16}{figures}{f'{pings.lost} of {pings.sent}':>14}"
    yield ""
    stream = outcome.stream
    yield f"  {outcome.transport}: {stream.gbps:.2f} Gbit/s ({size(stream.octets)} in {stream.seconds:.1f} s)"
    yield ""
    yield f"  {'client':<10}{'kind':<10}{'tx frames':>12}{'rx frames':>12}   drops"
    for client in outcome.clients.values():
        yield f"  {client.name:<10}{client.kind:<10}{client.tx_frames:>12,}{client.rx_frames:>12,}   {client.drops}"


def size(octets: float) -> str:
    """Bytes for people: `6.12 GB`."""
    for unit in ("B", "kB", "MB"):
        if octets < 1000:
            return f"{octets:.3g} {unit}"
        octets /= 1000
    return f"{octets:.3g} GB"

"""What a run of the demo found out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import attrs

from etherloom_tap.lab import InterfaceCounters

__all__ = ["Client", "Device", "Echoes", "Linux", "Outcome", "Pings", "Report", "Stream"]


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
class Echoes:
    """Datagrams that were sent, and those that came back as they were, with some always under way."""

    sent: int
    answered: int
    seconds: float

    @property
    def per_s(self) -> float:
        """Echoes/s."""
        return self.answered / self.seconds

    @property
    def lost(self) -> int:
        """Datagrams that did not come back."""
        return self.sent - self.answered


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

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """From a row of the report."""
        drops = ", ".join(f"{frames:,} {reason}" for reason, frames in row["drops"].items()) or "0"
        names = (field.name for field in attrs.fields(cls))
        return cls(**{**{name: row[name] for name in names}, "drops": drops})


@attrs.frozen
class Device:
    """What a driver did to a NIC: accesses by register, bytes of DMA as the NIC sees it, rising edges of its line."""

    reads: Mapping[str, int]
    writes: Mapping[str, int]
    dma_read_bytes: int
    dma_written_bytes: int
    interrupts: int

    @property
    def accesses(self) -> int:
        """Reads and writes of registers."""
        return sum(self.reads.values()) + sum(self.writes.values())


@attrs.frozen
class Report:
    """What `etherloom run --report` writes."""

    clients: Mapping[str, Client]
    devices: Mapping[str, Device]

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], devices: Mapping[str, Mapping[str, Any]]) -> Self:
        """From its two parts, as JSON has them."""
        clients = {row["name"]: Client.of(row) for row in rows}
        return cls(clients, {name: Device(**device) for name, device in devices.items()})

    def frames_of(self, device: str) -> int:
        """Frames that a device sent and received."""
        client = self.clients[device]
        return client.tx_frames + client.rx_frames


@attrs.frozen
class Linux:
    """The guest that was booted.

    Attributes:
        release: Its kernel's.
        qemu: The version of QEMU it ran in.
        boot_s: From QEMU's start until the guest had its address.
        said: What its kernel said of the NIC.
    """

    release: str
    qemu: str
    boot_s: float
    said: Sequence[str]


@attrs.frozen(kw_only=True)
class Outcome:
    """One run.

    Attributes:
        path: Between whom traffic passed, and through what.
        traffic: What it was.
        pings: Round trips, by the circumstances.
        streams: Streams, by what they were: `one TCP stream`, or `frames of 1,514 bytes` between memory peers.
        echoes: Of UDP, to a NIC whose guest is Python; None if there was none.
        linux: The guest; None if none was booted.
        report: Etherloom's own counters, and what the driver did to the NIC.
        interfaces: The kernel's counters, by namespace and interface: `LAN/eth0`. Empty between memory peers.
        refused: What the host refused; empty if the kernel's own stacks were at work.
    """

    path: str
    traffic: str
    pings: Mapping[str, Pings]
    streams: Mapping[str, Stream]
    report: Report
    echoes: Echoes | None = None
    linux: Linux | None = None
    interfaces: Mapping[str, InterfaceCounters] = {}
    refused: str = ""

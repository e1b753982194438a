"""What there is to draw of a run: nodes on the wire, what encloses them, and what passed between them.

Left to right is the way from the LAN to the guest side; the NIC hangs below the hub, and its driver is beside it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

import attrs

from examples.demo.outcome import Outcome
from examples.demo.summary import size

__all__ = ["Edge", "Lane", "Node", "Panel", "Scene", "scene"]

WIRE_Y, NIC_Y = 292, 512
TALL, SHORT = 482, 292  # panels with and without place for the NIC's row
REFUSAL_COLUMNS = 80


@attrs.frozen
class Node:
    """A box.

    Attributes:
        x, y: Its middle.
        name, role: What stands in it.
        kind: Its style's class: `node` for the kernel's, `client` for Etherloom's, `driver`.
        drops: By reason; empty if it counts none.
        above: Where the drops stand; beside it, on the left, if not.
    """

    x: int
    y: int
    name: str
    role: str
    kind: str = "node"
    drops: str = ""
    above: bool = True


@attrs.frozen
class Panel:
    """What encloses some nodes: a namespace, or the process."""

    x: int
    width: int
    height: int
    head: str
    notes: Sequence[str]
    ours: bool = False


@attrs.frozen
class Lane:
    """One direction of an edge: how many of what, and how many bytes."""

    count: int
    octets: int
    what: str = ""

    @property
    def words(self) -> tuple[str, str]:
        """Two lines."""
        count = f"{self.count:,}" if self.count < 1_000_000 else f"{self.count / 1e6:.2f} M"
        return f"{count} {self.what}".strip(), size(self.octets) + (" by DMA" if self.what else "")


@attrs.frozen
class Edge:
    """Between two neighbours; `there` is from `start` to `end`."""

    start: tuple[int, int]
    end: tuple[int, int]
    there: Lane
    back: Lane


@attrs.frozen
class Scene:
    """All of it."""

    panels: Sequence[Panel]
    nodes: Sequence[Node]
    edges: Sequence[Edge]


def scene(outcome: Outcome) -> Scene:
    """What was there."""
    return _memory_scene(outcome) if outcome.refused else _kernel_scene(outcome)


def _kernel_scene(outcome: Outcome) -> Scene:
    at = outcome.interfaces
    lan, eth0, tap0, tap1 = (at[name] for name in ("LAN/eth0", "host/eth0", "host/tap0", "guest side/tap1"))
    panels = (
        Panel(44, 124, SHORT, "LAN", ["network namespace"]),
        Panel(252, 370, SHORT, "host", ["network namespace: a Linux bridge"]),
        Panel(706, 370, TALL, "etherloom run", ["one process, one loop"], ours=True),
        Panel(1160, 124, TALL, "guest side", ["network namespace"]),
    )
    nodes = (
        Node(106, WIRE_Y, "eth0", "10.77.0.1"),
        Node(303, WIRE_Y, "eth0", "veth"),
        Node(437, WIRE_Y, "br0", "bridge"),
        Node(571, WIRE_Y, "tap0", "tap"),
        *_loom_nodes(outcome, ("tap", "tap, fd="), 757, 891, 1025),
        Node(1222, WIRE_Y, "tap1", "10.77.0.2"),
    )
    edges = (
        _wire(106, 303, Lane(lan.tx_packets, lan.tx_bytes), Lane(lan.rx_packets, lan.rx_bytes)),
        _wire(303, 437, Lane(eth0.rx_packets, eth0.rx_bytes), Lane(eth0.tx_packets, eth0.tx_bytes)),
        _wire(437, 571, Lane(tap0.tx_packets, tap0.tx_bytes), Lane(tap0.rx_packets, tap0.rx_bytes)),
        _wire(571, 757, *_lanes(outcome, "uplink")),
        *_loom_edges(outcome, 757, 891, 1025),
        _wire(1025, 1222, Lane(tap1.rx_packets, tap1.rx_bytes), Lane(tap1.tx_packets, tap1.tx_bytes)),
    )
    return Scene(panels, nodes, edges)


def _memory_scene(outcome: Outcome) -> Scene:
    panels = (
        Panel(44, 578, SHORT, "refused by this host", textwrap.wrap(outcome.refused, REFUSAL_COLUMNS)),
        Panel(668, 616, TALL, "etherloom, in one process", ["memory peers in the place of taps"], ours=True),
    )
    nodes = tuple(_loom_nodes(outcome, ("memory", "memory"), 770, 976, 1182))
    return Scene(panels, nodes, tuple(_loom_edges(outcome, 770, 976, 1182)))


def _loom_nodes(outcome: Outcome, roles: tuple[str, str], left: int, hub: int, right: int) -> Iterator[Node]:
    clients = outcome.report.clients
    hub_drops = ", ".join(drops for name in ("p0", "p1", "p2") if (drops := clients[name].drops) != "0") or "0"
    yield Node(left, WIRE_Y, "uplink", roles[0], "client", clients["uplink"].drops)
    yield Node(hub, WIRE_Y, "hub 0", "3 hubports", "client", hub_drops)
    yield Node(right, WIRE_Y, "guest", roles[1], "client", clients["guest"].drops)
    yield Node(hub, NIC_Y, "nic0", "rtl8139", "client", clients["nic0"].drops, above=False)
    yield Node(right, NIC_Y, "driver", "10.77.0.15", "driver")


def _loom_edges(outcome: Outcome, left: int, hub: int, right: int) -> Iterator[Edge]:
    yield _wire(left, hub, *reversed(_lanes(outcome, "p0")))
    yield _wire(hub, right, *_lanes(outcome, "p1"))
    yield Edge((hub, WIRE_Y), (hub, NIC_Y), *_lanes(outcome, "p2"))
    device = outcome.report.devices["nic0"]
    there = Lane(device.interrupts, device.dma_written_bytes, "irqs")
    back = Lane(device.accesses, device.dma_read_bytes, "accesses")
    yield Edge((hub, NIC_Y), (right, NIC_Y), there, back)


def _wire(left: int, right: int, there: Lane, back: Lane) -> Edge:
    return Edge((left, WIRE_Y), (right, WIRE_Y), there, back)


def _lanes(outcome: Outcome, name: str) -> tuple[Lane, Lane]:
    """What a client sent into the network, and what it got from there."""
    client = outcome.report.clients[name]
    return Lane(client.tx_frames, client.tx_bytes), Lane(client.rx_frames, client.rx_bytes)

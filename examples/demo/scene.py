"""What there is to draw of a run: nodes on the wire, what encloses them, and what passed between them.

Left to right is the way from the LAN to the guests. Beside a NIC is what drives it: a driver in Python, or Linux.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import attrs

from examples.demo.outcome import Linux, Outcome
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
    """All of it, or a part."""

    panels: Sequence[Panel] = ()
    nodes: Sequence[Node] = ()
    edges: Sequence[Edge] = ()

    def __add__(self, other: Scene) -> Scene:
        return Scene((*self.panels, *other.panels), (*self.nodes, *other.nodes), (*self.edges, *other.edges))


def scene(outcome: Outcome) -> Scene:
    """What was there."""
    outside = _refused(outcome) if outcome.refused else _host(outcome)
    if outcome.linux is not None:
        return outside + _loom_and_linux(outcome, outcome.linux)
    if outcome.refused:
        return outside + _wide_loom(outcome)
    return outside + _loom_and_guest_side(outcome)


def _host(outcome: Outcome) -> Scene:
    """The kernel's way from the LAN to Etherloom."""
    lan, eth0, tap0 = (outcome.interfaces[name] for name in ("LAN/eth0", "host/eth0", "host/tap0"))
    return Scene(
        (
            Panel(44, 124, SHORT, "LAN", ["network namespace"]),
            Panel(252, 370, SHORT, "host", ["network namespace: a Linux bridge"]),
        ),
        (
            Node(106, WIRE_Y, "eth0", "10.77.0.1"),
            Node(303, WIRE_Y, "eth0", "veth"),
            Node(437, WIRE_Y, "br0", "bridge"),
            Node(571, WIRE_Y, "tap0", "tap"),
        ),
        (
            _wire(106, 303, Lane(lan.tx_packets, lan.tx_bytes), Lane(lan.rx_packets, lan.rx_bytes)),
            _wire(303, 437, Lane(eth0.rx_packets, eth0.rx_bytes), Lane(eth0.tx_packets, eth0.tx_bytes)),
            _wire(437, 571, Lane(tap0.tx_packets, tap0.tx_bytes), Lane(tap0.rx_packets, tap0.rx_bytes)),
            _wire(571, 757, *_lanes(outcome, "uplink")),
        ),
    )


def _refused(outcome: Outcome) -> Scene:
    """Why there is nothing of that."""
    return Scene((Panel(44, 578, SHORT, "refused by this host", textwrap.wrap(outcome.refused, REFUSAL_COLUMNS)),))


def _loom_and_guest_side(outcome: Outcome) -> Scene:
    tap1 = outcome.interfaces["guest side/tap1"]
    guest_side = Scene(
        (
            Panel(706, 370, TALL, "etherloom run", ["one process, one loop"], ours=True),
            Panel(1160, 124, TALL, "guest side", ["network namespace"]),
        ),
        (Node(1222, WIRE_Y, "tap1", "10.77.0.2"),),
        (_wire(1025, 1222, Lane(tap1.rx_packets, tap1.rx_bytes), Lane(tap1.tx_packets, tap1.tx_bytes)),),
    )
    return guest_side + _loom(outcome, ("tap", "tap, fd="), 757, 891, 1025)


def _wide_loom(outcome: Outcome) -> Scene:
    panel = Panel(668, 616, TALL, "etherloom, in one process", ["memory peers in the place of taps"], ours=True)
    return Scene((panel,)) + _loom(outcome, ("memory", "memory"), 770, 976, 1182)


def _loom(outcome: Outcome, roles: tuple[str, str], left: int, hub: int, right: int) -> Scene:
    """Two clients on a hub, and below it a NIC with its driver beside it."""
    clients = outcome.report.clients
    return Scene(
        (),
        (
            Node(left, WIRE_Y, "uplink", roles[0], "client", clients["uplink"].drops),
            Node(hub, WIRE_Y, "hub 0", "3 hubports", "client", _drops(outcome, "p0", "p1", "p2")),
            Node(right, WIRE_Y, "guest", roles[1], "client", clients["guest"].drops),
            Node(hub, NIC_Y, "nic0", "rtl8139", "client", clients["nic0"].drops, above=False),
            Node(right, NIC_Y, "driver", "10.77.0.15", "driver"),
        ),
        (
            _wire(left, hub, *reversed(_lanes(outcome, "p0"))),
            _wire(hub, right, *_lanes(outcome, "p1")),
            Edge((hub, WIRE_Y), (hub, NIC_Y), *_lanes(outcome, "p2")),
            Edge((hub, NIC_Y), (right, NIC_Y), *_driven(outcome)),
        ),
    )


def _loom_and_linux(outcome: Outcome, linux: Linux) -> Scene:
    """A NIC on a hub, and a guest on the NIC."""
    clients = outcome.report.clients
    head, note, role = "etherloom run", "one process, one loop", "tap"
    if outcome.refused:
        head, note, role = "etherloom", "a memory peer in the tap's place", "memory"
    return Scene(
        (
            Panel(706, 370, SHORT, head, [note], ours=True),
            Panel(1160, 124, SHORT, f"QEMU {linux.qemu}", ["virtual machine"]),
        ),
        (
            Node(757, WIRE_Y, "uplink", role, "client", clients["uplink"].drops),
            Node(891, WIRE_Y, "hub 0", "2 hubports", "client", _drops(outcome, "p0", "p1")),
            Node(1025, WIRE_Y, "nic0", "rtl8139", "client", clients["nic0"].drops),
            Node(1222, WIRE_Y, "Linux", "10.77.0.2", "driver"),
        ),
        (
            _wire(757, 891, *reversed(_lanes(outcome, "p0"))),
            _wire(891, 1025, *_lanes(outcome, "p1")),
            _wire(1025, 1222, *_driven(outcome)),
        ),
    )


def _drops(outcome: Outcome, *names: str) -> str:
    """Of several clients."""
    clients = outcome.report.clients
    return ", ".join(drops for name in names if (drops := clients[name].drops) != "0") or "0"


def _wire(left: int, right: int, there: Lane, back: Lane) -> Edge:
    return Edge((left, WIRE_Y), (right, WIRE_Y), there, back)


def _lanes(outcome: Outcome, name: str) -> tuple[Lane, Lane]:
    """What a client sent into the network, and what it got from there."""
    client = outcome.report.clients[name]
    return Lane(client.tx_frames, client.tx_bytes), Lane(client.rx_frames, client.rx_bytes)


def _driven(outcome: Outcome) -> tuple[Lane, Lane]:
    """What nic0 did to its guest, and what its driver did to nic0."""
    device = outcome.report.devices["nic0"]
    return (
        Lane(device.interrupts, device.dma_written_bytes, "irqs"),
        Lane(device.accesses, device.dma_read_bytes, "accesses"),
    )

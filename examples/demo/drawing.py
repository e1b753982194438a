"""The network of a run as an SVG, with what passed each edge: hand-written, no library, no script in it.

Left to right is the way from the LAN to the guest side. Each edge has two lanes, one for each direction, as thick as
the decimal logarithm of the bytes that passed.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

import attrs

from examples.demo.outcome import Outcome, Pings, size

__all__ = ["draw"]

WIDTH, HEIGHT = 1328, 654
WIRE_Y = 292
NODE_WIDTH, NODE_HEIGHT = 78, 58
LANE_GAP = 9  # between the centres of an edge's lanes

STYLE = """
  text { font-family: 'Inter', 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif; fill: #22303c }
  .title { font-size: 27px; font-weight: 700 }
  .subtitle { font-size: 14px; fill: #66757f }
  .panel { fill: #ffffff; stroke: #dfe4e8 }
  .ours { fill: #f1f7f4; stroke: #9fcdb6 }
  .head { font-size: 14px; font-weight: 700 }
  .note { font-size: 11.5px; fill: #7b8a94 }
  .node { fill: #22303c }
  .client { fill: #1d7a55 }
  .name { font-size: 14px; font-weight: 600; fill: #ffffff }
  .role { font-size: 10.5px; fill: #ffffff; opacity: .72 }
  .figure { font-size: 11.5px; font-weight: 600 }
  .there, .there text { stroke: none; fill: #1f6fb2 }
  .back, .back text { stroke: none; fill: #c2691c }
  .lane-there { stroke: #4a9bdc; stroke-linecap: round }
  .lane-back { stroke: #e69a4d; stroke-linecap: round }
  .lost { fill: #c0392b; font-weight: 600 }
  .big { font-size: 30px; font-weight: 700 }
  .unit { font-size: 13px; fill: #66757f }
  .axis { stroke: #d3dade }
  .bar-idle { fill: #2a9d72 }
  .bar-loaded { fill: #8d7bc4; opacity: .72 }
"""


@attrs.frozen
class Node:
    """A box on the wire; `client` for one of Etherloom's."""

    x: int
    name: str
    role: str
    client: bool = False
    drops: str = ""


@attrs.frozen
class Panel:
    """What encloses some nodes: a namespace, or the process."""

    x: int
    width: int
    head: str
    note: str
    ours: bool = False


@attrs.frozen
class Edge:
    """Between two neighbours: frames and bytes there, and back."""

    left: int
    right: int
    there: tuple[int, int]
    back: tuple[int, int]


def draw(outcome: Outcome) -> str:
    """The whole document."""
    panels, nodes, edges = _memory_scene(outcome) if outcome.refused else _kernel_scene(outcome)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">',
        f"<title>A network that Etherloom ran</title><style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#f7f8f9"/>',
        _text(44, 58, "A network that Etherloom ran", "title"),
        _text(44, 82, _setting(outcome), "subtitle"),
        *_legend(),
        *(part for panel in panels for part in _panel(panel)),
        *(part for edge in edges for part in _edge(edge)),
        *(part for node in nodes for part in _node(node)),
        *_tiles(outcome),
        *_histogram(outcome),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


# What there is to draw -----------------------------------------------------------------------------------------


def _kernel_scene(outcome: Outcome) -> tuple[Sequence[Panel], Sequence[Node], Sequence[Edge]]:
    at = outcome.interfaces
    lan, eth0, tap0, tap1 = (at[name] for name in ("LAN/eth0", "host/eth0", "host/tap0", "guest side/tap1"))
    panels = (
        Panel(44, 124, "LAN", "network namespace"),
        Panel(252, 370, "host", "network namespace: a Linux bridge"),
        Panel(706, 370, "etherloom run", "one process, one loop", ours=True),
        Panel(1160, 124, "guest side", "network namespace"),
    )
    nodes = (
        Node(106, "eth0", "10.77.0.1"),
        Node(303, "eth0", "veth"),
        Node(437, "br0", "bridge"),
        Node(571, "tap0", "tap"),
        Node(757, "uplink", "tap", client=True, drops=outcome.clients["uplink"].drops),
        Node(891, "hub 0", "2 hubports", client=True, drops=_hub_drops(outcome)),
        Node(1025, "guest", "tap, fd=", client=True, drops=outcome.clients["guest"].drops),
        Node(1222, "tap1", "10.77.0.2"),
    )
    edges = (
        Edge(106, 303, (lan.tx_packets, lan.tx_bytes), (lan.rx_packets, lan.rx_bytes)),
        Edge(303, 437, (eth0.rx_packets, eth0.rx_bytes), (eth0.tx_packets, eth0.tx_bytes)),
        Edge(437, 571, (tap0.tx_packets, tap0.tx_bytes), (tap0.rx_packets, tap0.rx_bytes)),
        _client_edge(outcome, "uplink", 571, 757, leftward=False),
        *_hub_edges(outcome, 757, 891, 1025),
        Edge(1025, 1222, (tap1.rx_packets, tap1.rx_bytes), (tap1.tx_packets, tap1.tx_bytes)),
    )
    return panels, nodes, edges


def _memory_scene(outcome: Outcome) -> tuple[Sequence[Panel], Sequence[Node], Sequence[Edge]]:
    panels = (
        Panel(292, 736, "etherloom, in one process", f"refused: {outcome.refused.partition(';')[0]}"[:110], ours=True),
    )
    nodes = (
        Node(400, "uplink", "memory", client=True, drops=outcome.clients["uplink"].drops),
        Node(660, "hub 0", "2 hubports", client=True, drops=_hub_drops(outcome)),
        Node(920, "guest", "memory", client=True, drops=outcome.clients["guest"].drops),
    )
    return panels, nodes, tuple(_hub_edges(outcome, 400, 660, 920))


def _hub_edges(outcome: Outcome, left: int, hub: int, right: int) -> Iterator[Edge]:
    yield _client_edge(outcome, "p0", left, hub, leftward=True)
    yield _client_edge(outcome, "p1", hub, right, leftward=False)


def _client_edge(outcome: Outcome, name: str, left: int, right: int, *, leftward: bool) -> Edge:
    """An edge by the counters of a client, whose own sending goes to the left or to the right."""
    client = outcome.clients[name]
    tx, rx = (client.tx_frames, client.tx_bytes), (client.rx_frames, client.rx_bytes)
    return Edge(left, right, rx, tx) if leftward else Edge(left, right, tx, rx)


def _hub_drops(outcome: Outcome) -> str:
    return ", ".join(drops for name in ("p0", "p1") if (drops := outcome.clients[name].drops) != "0") or "0"


def _setting(outcome: Outcome) -> str:
    what = "echo and frames between memory peers" if outcome.refused else "ping and one TCP stream, LAN to guest side"
    return f"{what}  ·  Linux {platform.release()}  ·  Python {platform.python_version()}  ·  script/demo"


# How it is drawn -----------------------------------------------------------------------------------------------


def _legend() -> Iterator[str]:
    for y, lane, words in ((50, "lane-there", "towards the guest side"), (74, "lane-back", "towards the LAN")):
        yield f'<line class="{lane}" x1="1086" x2="1124" y1="{y}" y2="{y}" stroke-width="6"/>'
        yield _text(1136, y + 4, words, "note")


def _panel(panel: Panel) -> Iterator[str]:
    kind = "ours" if panel.ours else "panel"
    yield f'<rect class="{kind}" x="{panel.x}" y="116" width="{panel.width}" height="292" rx="16"/>'
    middle = panel.x + panel.width // 2
    yield _text(middle, 148, panel.head, "head", "middle")
    yield _text(middle, 167, panel.note, "note", "middle")


def _node(node: Node) -> Iterator[str]:
    kind = "client" if node.client else "node"
    x, y = node.x - NODE_WIDTH // 2, WIRE_Y - NODE_HEIGHT // 2
    yield f'<rect class="{kind}" x="{x}" y="{y}" width="{NODE_WIDTH}" height="{NODE_HEIGHT}" rx="12"/>'
    yield _text(node.x, WIRE_Y - 1, node.name, "name", "middle")
    yield _text(node.x, WIRE_Y + 15, node.role, "role", "middle")
    if node.drops:
        words = "no drops" if node.drops == "0" else f"dropped {node.drops}"
        yield _text(node.x, WIRE_Y + 106, words, "note" if node.drops == "0" else "note lost", "middle")


def _edge(edge: Edge) -> Iterator[str]:
    middle = (edge.left + edge.right) / 2
    lanes = (
        ("there", "\u2192", -1, edge.there, (WIRE_Y - 60, WIRE_Y - 44)),
        ("back", "\u2190", 1, edge.back, (WIRE_Y + 54, WIRE_Y + 70)),
    )
    for name, arrow, side, (frames, octets), (first_y, second_y) in lanes:
        y = WIRE_Y + side * LANE_GAP
        thickness = 1 + 0.9 * math.log10(max(1, octets))
        yield (
            f'<line class="lane-{name}" x1="{edge.left}" x2="{edge.right}" y1="{y}" y2="{y}" '
            f'stroke-width="{thickness:.1f}"/>'
        )
        yield _text(middle, first_y, f"{arrow} {_count(frames)}", f"figure {name}", "middle")
        yield _text(middle, second_y, size(octets), f"note {name}", "middle")


def _tiles(outcome: Outcome) -> Iterator[str]:
    idle, loaded = outcome.idle, outcome.loaded
    tiles = (
        (44, f"{outcome.stream.gbps:.3g}", "Gbit/s", outcome.transport, _amount(outcome)),
        (252, _microseconds(idle, 50), "us", "median round trip, idle", _tail(idle)),
        (460, _microseconds(loaded, 50), "us", "the same beside the stream", _tail(loaded)),
    )
    for x, figure, unit, words, more in tiles:
        yield f'<rect class="panel" x="{x}" y="434" width="192" height="176" rx="16"/>'
        yield f'<text class="big" x="{x + 20}" y="512">{figure}<tspan class="unit" dx="6">{escape(unit)}</tspan></text>'
        yield _text(x + 20, 542, words, "note")
        yield _text(x + 20, 561, more, "note")


def _histogram(outcome: Outcome) -> Iterator[str]:
    """Round trips on a logarithmic axis, idle and loaded beside each other."""
    left, right, base, top = 696, 1256, 570, 488
    yield '<rect class="panel" x="668" y="434" width="616" height="176" rx="16"/>'
    yield _text(left, 466, "round trips, us", "head")
    series = (("idle", outcome.idle), ("loaded", outcome.loaded))
    trips = [trip for _, pings in series for trip in pings.round_trips_us]
    if not trips:
        return
    low, high = math.floor(math.log10(min(trips)) * 4) / 4, math.ceil(math.log10(max(trips)) * 4) / 4 + 0.05
    bins, scale = 60, (right - left) / (high - low)
    for number, (name, pings) in enumerate(series):
        counts = [0] * bins
        for trip in pings.round_trips_us:
            counts[min(bins - 1, int((math.log10(trip) - low) / (high - low) * bins))] += 1
        step, most = (right - left) / bins, max(counts) or 1
        for place, count in enumerate(counts):
            if count:
                height = max(1.5, (base - top) * count / most)
                yield (
                    f'<rect class="bar-{name}" x="{left + place * step:.1f}" y="{base - height:.1f}" '
                    f'width="{step - 1.5:.1f}" height="{height:.1f}" rx="1.5"/>'
                )
        yield f'<rect class="bar-{name}" x="{1064 + 66 * number}" y="455" width="11" height="11" rx="3"/>'
        yield _text(1081 + 66 * number, 465, "idle" if name == "idle" else "beside the stream", "note")
    yield f'<line class="axis" x1="{left}" x2="{right}" y1="{base}" y2="{base}"/>'
    for power in range(math.ceil(low), math.floor(high) + 1):
        for digit in (1, 2, 5):
            x = left + (power + math.log10(digit) - low) * scale
            if left <= x <= right:
                yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{base}" y2="{base + 5}"/>'
                yield _text(x, base + 20, f"{digit * 10**power:,}", "note", "middle")


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def _count(frames: int) -> str:
    return f"{frames:,}" if frames < 1_000_000 else f"{frames / 1e6:.2f} M"


def _tail(pings: Pings) -> str:
    lost = f", {pings.lost} lost" if pings.lost else ""
    return f"p90 {_microseconds(pings, 90)}, p99 {_microseconds(pings, 99)}{lost}"


def _amount(outcome: Outcome) -> str:
    return f"{size(outcome.stream.octets)} in {outcome.stream.seconds:.1f} s"


def _microseconds(pings: Pings, percent: float) -> str:
    value = pings.percentile_us(percent)
    return "-" if math.isnan(value) else f"{value:,.0f}"

"""The network of a run as an SVG, with what passed each edge: hand-written, no library, no script in it.

Each edge has two lanes, one for each direction, as thick as the decimal logarithm of the bytes that passed.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator

from examples.demo.charts import histogram, registers, said, tiles
from examples.demo.outcome import Outcome
from examples.demo.scene import Edge, Lane, Node, Panel, scene
from examples.demo.svg import STYLE, box, text

__all__ = ["draw"]

WIDTH, HEIGHT = 1328, 844
PANEL_TOP = 116
NODE_WIDTH, NODE_HEIGHT = 78, 58
LANE_GAP = 9  # between the centres of an edge's lanes
DROPS_ABOVE = 92  # a node's middle: clear of the figures of its edges


def draw(outcome: Outcome) -> str:
    """The whole document."""
    seen = scene(outcome)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">',
        f"<title>A network that Etherloom ran</title><style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#f7f8f9"/>',
        text(44, 58, "A network that Etherloom ran", "title"),
        text(44, 82, _setting(outcome), "subtitle"),
        *_legend(),
        *(part for panel in seen.panels for part in _panel(panel)),
        *(part for edge in seen.edges for part in _edge(edge)),
        *(part for node in seen.nodes for part in _node(node)),
        *registers(outcome),
        *said(outcome),
        *tiles(outcome),
        *histogram(outcome),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _setting(outcome: Outcome) -> str:
    system = f"Linux {platform.release()}  \u00b7  Python {platform.python_version()}"
    command = "script/demo" if outcome.linux is None else "script/demo --guest"
    return f"{outcome.traffic}  \u00b7  {system}  \u00b7  {command}"


def _legend() -> Iterator[str]:
    for y, lane, words in ((50, "lane-there", "towards the guests"), (74, "lane-back", "towards the LAN")):
        yield f'<line class="{lane}" x1="1118" x2="1156" y1="{y}" y2="{y}" stroke-width="6"/>'
        yield text(1168, y + 4, words, "note")


def _panel(panel: Panel) -> Iterator[str]:
    yield box(panel.x, PANEL_TOP, panel.width, panel.height, "ours" if panel.ours else "panel")
    middle = panel.x + panel.width // 2
    yield text(middle, PANEL_TOP + 32, panel.head, "head", "middle")
    for number, line in enumerate(panel.notes):
        yield text(middle, PANEL_TOP + 51 + 18 * number, line, "note", "middle")


def _node(node: Node) -> Iterator[str]:
    yield box(node.x - NODE_WIDTH // 2, node.y - NODE_HEIGHT // 2, NODE_WIDTH, NODE_HEIGHT, node.kind, 12)
    yield text(node.x, node.y - 1, node.name, "name", "middle")
    yield text(node.x, node.y + 15, node.role, "role", "middle")
    if node.drops:
        yield from _drops(node)


def _drops(node: Node) -> Iterator[str]:
    kind, words = ("note", ["no drops"]) if node.drops == "0" else ("note lost", ["dropped", node.drops])
    if node.above:
        for lines_below, line in enumerate(reversed(words)):
            yield text(node.x, node.y - DROPS_ABOVE - 15 * lines_below, line, kind, "middle")
    else:
        yield text(node.x - NODE_WIDTH // 2 - 10, node.y + 4, " ".join(words), kind, "end")


def _edge(edge: Edge) -> Iterator[str]:
    """To the right, what goes there is above and what comes back below; downwards, on the right and on the left."""
    (x, y), (end_x, end_y) = edge.start, edge.end
    middle = (x + end_x) / 2
    if y == end_y:
        yield _lane("there", edge.there, (x, y - LANE_GAP), (end_x, y - LANE_GAP))
        yield _lane("back", edge.back, (x, y + LANE_GAP), (end_x, y + LANE_GAP))
        yield from _figures("there", "\u2192", edge.there, middle, y - 60, "middle")
        yield from _figures("back", "\u2190", edge.back, middle, y + 54, "middle")
    else:
        label_y = (y + end_y) / 2 + 4
        yield _lane("there", edge.there, (x + LANE_GAP, y), (x + LANE_GAP, end_y))
        yield _lane("back", edge.back, (x - LANE_GAP, y), (x - LANE_GAP, end_y))
        yield from _figures("there", "\u2193", edge.there, x + 24, label_y, "start")
        yield from _figures("back", "\u2191", edge.back, x - 24, label_y, "end")


def _lane(name: str, lane: Lane, start: tuple[int, int], end: tuple[int, int]) -> str:
    thickness = 1 + 0.9 * math.log10(max(1, lane.octets))
    (x, y), (end_x, end_y) = start, end
    return f'<line class="lane-{name}" x1="{x}" y1="{y}" x2="{end_x}" y2="{end_y}" stroke-width="{thickness:.1f}"/>'


def _figures(name: str, arrow: str, lane: Lane, x: float, y: float, anchor: str) -> Iterator[str]:
    count, octets = lane.words
    yield text(x, y, f"{arrow} {count}", f"figure {name}", anchor)
    yield text(x, y + 16, octets, f"note {name}", anchor)

"""The live table's own process: reads states as lines of JSON, draws the newest, ends with its input.

Run by its path from `screen.py`; imports rich and nothing of Etherloom.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

LINK_STYLES = {"up": "green", "down": "yellow", "failed": "bold red"}
PREFIXES = ("", "k", "M", "G", "T")
WIDE = 130  # columns that a terminal needs for totals and info strings


def si(value: float) -> str:
    """A figure in at most five characters: `999`, `1.23k`, `45.6M`."""
    for prefix in PREFIXES:
        if value < 999.5 or prefix == PREFIXES[-1]:
            break
        value /= 1000
    return f"{value:.0f}" if not prefix else f"{value:.3g}{prefix}"


def rates(row: dict[str, Any], before: dict[str, Any] | None, elapsed_s: float, way: str) -> tuple[str, str]:
    """Frames/s and bit/s of one direction since the last state."""
    if before is None or elapsed_s <= 0:
        return "", ""
    frames = max(0, row[f"{way}_frames"] - before[f"{way}_frames"]) / elapsed_s
    bits = max(0, row[f"{way}_bytes"] - before[f"{way}_bytes"]) * 8 / elapsed_s
    return si(frames), si(bits)


def draw(state: dict[str, Any], before: dict[str, Any] | None, width: int) -> Group:
    """One state as a table, rates against the one before it. A narrow terminal gets less: no totals."""
    wide = width >= WIDE
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("client", "peer", "link", "offload", *(["kind", "info"] if wide else [])):
        table.add_column(heading, no_wrap=True, overflow="ellipsis")
    for way in ("tx", "rx"):
        for heading in (f"{way} frames", "/s", "bytes", "bit/s", "drops") if wide else (f"{way} /s", "bit/s", "drops"):
            table.add_column(heading, justify="right", no_wrap=True, min_width=5, style="cyan" if way == "tx" else "")
    earlier = {row["name"]: row for row in before["rows"]} if before else {}
    elapsed_s = state["at_s"] - before["at_s"] if before else 0.0
    for row in state["rows"]:
        cells = [
            Text(row["name"], "bold"),
            Text(row["peer"] or "none", "" if row["peer"] else "dim"),
            Text(row["link"], LINK_STYLES[row["link"]]),
            Text(row["offload"]),
        ]
        if wide:
            cells += [Text(row["kind"]), Text(row["info"])]
        for way in ("tx", "rx"):
            frames_s, bits_s = rates(row, earlier.get(row["name"]), elapsed_s, way)
            frames, octets, dropped = row[f"{way}_frames"], row[f"{way}_bytes"], row[f"{way}_dropped"]
            figures = (si(frames), frames_s, si(octets), bits_s) if wide else (frames_s, bits_s)
            cells += [Text(figure) for figure in figures]
            cells.append(Text(si(dropped), "red" if dropped else "dim"))
        table.add_row(*cells)
    lines = [f"and {state['more']} more"] if state["more"] else []
    return Group(table, *(Text(line, "dim") for line in [*lines, "", *state["events"]]))


def main() -> None:
    """Draw until the input ends. Ctrl-C concerns the network, which then closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    console = Console()
    before = None
    with Live(console=console, auto_refresh=False) as live:
        for line in sys.stdin:
            if not line.endswith("\n"):  # the end came in the middle of a state
                break
            state = json.loads(line)
            live.update(draw(state, before, console.width), refresh=True)
            before = state
    if not console.is_terminal:  # where Live leaves the cursor behind the last line
        console.line()


if __name__ == "__main__":
    main()

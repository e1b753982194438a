"""The live table's drawing, without its process."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from etherloom.cli.table import WIDE, draw

ROW = {
    "name": "a",
    "kind": "tap",
    "peer": "p",
    "link": "up",
    "offload": "on",
    "info": "ifname=tap0",
    "tx_frames": 3000,
    "tx_bytes": 180_000,
    "tx_dropped": 0,
    "rx_frames": 7,
    "rx_bytes": 420,
    "rx_dropped": 2,
}
BEFORE = {**ROW, "tx_frames": 1000, "tx_bytes": 60_000, "rx_frames": 5, "rx_bytes": 300}


def drawn(width: int) -> list[tuple[str, list[str]]]:
    """The headings, each with what stands under it."""

    def state(at_s: float, row: dict[str, Any]) -> dict[str, Any]:
        return {"at_s": at_s, "rows": [row], "more": 0, "events": []}

    table = draw(state(2.0, ROW), state(0.0, BEFORE), width).renderables[0]
    assert isinstance(table, Table)
    return [(str(column.header), [str(cell) for cell in column.cells]) for column in table.columns]


def test_a_narrow_terminal_gets_rates_and_drops_each_under_its_heading() -> None:
    expected = [
        *(("client", ["a"]), ("peer", ["p"]), ("link", ["up"]), ("offload", ["on"])),
        *(("tx /s", ["1k"]), ("bit/s", ["480k"]), ("drops", ["0"])),
        *(("rx /s", ["1"]), ("bit/s", ["480"]), ("drops", ["2"])),
    ]
    assert expected == drawn(WIDE - 1)


def test_a_wide_terminal_gets_kind_info_and_totals_too() -> None:
    expected = [
        *(("client", ["a"]), ("peer", ["p"]), ("link", ["up"]), ("offload", ["on"])),
        *(("kind", ["tap"]), ("info", ["ifname=tap0"])),
        *(("tx frames", ["3k"]), ("/s", ["1k"]), ("bytes", ["180k"]), ("bit/s", ["480k"]), ("drops", ["0"])),
        *(("rx frames", ["7"]), ("/s", ["1"]), ("bytes", ["420"]), ("bit/s", ["480"]), ("drops", ["2"])),
    ]
    assert expected == drawn(WIDE)

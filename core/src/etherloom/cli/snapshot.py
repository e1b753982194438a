"""What runs, as plain data: one dictionary per client, for the table, the summary and JSON alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from etherloom.counters import Drop

if TYPE_CHECKING:
    from etherloom.client import NetClient
    from etherloom.net.network import Network

__all__ = ["snapshot", "summary"]

# Counted at the sender; all other reasons concern frames on their way in (see `etherloom.counters`).
TX_REASONS = frozenset({Drop.NO_PEER, Drop.LINK_DOWN, Drop.SHORT, Drop.GIANT, Drop.MALFORMED})


def snapshot(network: Network, at_most: int | None = None) -> list[dict[str, Any]]:
    """Every client, or the first `at_most`, with its counters brought up to date."""
    network.settle()
    return [_row(network, client) for client in islice(network.clients.values(), at_most)]


def _row(network: Network, client: NetClient) -> dict[str, Any]:
    drops = client.counters.drops
    tx_drops = sum(frames for reason, frames in drops.items() if reason in TX_REASONS)
    return {
        "name": client.name,
        "kind": client.kind,
        "peer": client.peer.name if client.peer is not None else None,
        "link": "failed" if client.failure is not None else "up" if client.link_up else "down",
        "info": client.info,
        "offload": _offload(network, client),
        **client.counters.as_dict(),
        "tx_dropped": tx_drops,
        "rx_dropped": client.counters.dropped - tx_drops,
    }


def _offload(network: Network, client: NetClient) -> str:
    """Whether frames keep their offloads on this client's wire, and if not, who costs them."""
    cell = network.cell(client)
    if cell is None or not any(member.vnet for member in cell.members):
        return ""
    blockers = cell.blockers
    if not blockers:
        return "on"
    if client in blockers:
        return "costs it"
    return "off: " + ", ".join(blocker.name for blocker in blockers[:2]) + (" ..." if len(blockers) > 2 else "")


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """What each client passed and lost, as aligned text."""
    table = [("client", "kind", "tx frames", "tx bytes", "rx frames", "rx bytes", "drops")]
    for row in rows:
        figures = (f"{row[column]:,}" for column in ("tx_frames", "tx_bytes", "rx_frames", "rx_bytes"))
        table.append((row["name"], row["kind"], *figures, reasons(row["drops"]) or "0"))
    return "\n".join(_aligned(table))


def reasons(drops: Mapping[str, int]) -> str:
    """Drops by reason: `12 queue-full, 3 no-peer`; empty for none."""
    return ", ".join(f"{frames:,} {reason}" for reason, frames in drops.items())


def _aligned(table: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for name, kind, *figures, drops in table:
        numbers = "  ".join(figure.rjust(width) for figure, width in zip(figures, widths[2:-1], strict=True))
        yield f"{name.ljust(widths[0])}  {kind.ljust(widths[1])}  {numbers}  {drops}"

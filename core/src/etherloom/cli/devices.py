"""What drivers do to the NICs of a run: counted for the report, or written down event by event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from etherloom.device import NicModel
from etherloom.device.trace import Event, Summary, Trace, to_json_lines

if TYPE_CHECKING:
    from etherloom.client import NetClient

__all__ = ["Devices", "accesses"]

NAMED_AT_MOST = 8


class Devices:
    """An observer of the network that traces every NIC from the moment it is there.

    Args:
        file: Where each event goes as a JSON object a line; None to count only.
    """

    def __init__(self, file: IO[str] | None = None) -> None:
        self._log = None if file is None else to_json_lines(file)
        self._summaries: dict[str, Summary] = {}

    def report(self) -> dict[str, dict[str, Any]]:
        """The counts of each NIC, by its name."""
        return {name: summary.as_dict() for name, summary in self._summaries.items()}

    def net_client_added(self, client: NetClient) -> None:
        """Trace it, if it is a NIC."""
        if isinstance(client, NicModel):
            summary = self._summaries[client.name] = Summary()
            log = self._log

            def sink(event: Event) -> None:
                summary(event)
                if log is not None:
                    log(event)

            Trace(client, sink)

    def net_client_removed(self, client: NetClient) -> None:
        """Nothing: its counts stay."""

    def net_client_failed(self, client: NetClient) -> None:
        """Nothing."""

    def link_changed(self, client: NetClient) -> None:
        """Nothing."""


def accesses(report: Mapping[str, Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> str:
    """What was done to each NIC, as text.

    Args:
        report: Of `Devices.report`.
        rows: Of `etherloom.cli.snapshot.snapshot`, for the frames that it was done for.
    """
    lines = []
    for row in rows:
        done = report.get(row["name"])
        if done is None:
            continue
        frames = row["tx_frames"] + row["rx_frames"]
        for verb in ("reads", "writes"):
            named = sorted(done[verb].items(), key=lambda item: -item[1])
            words = [f"{name or 'nothing'} {count:,}" for name, count in named[:NAMED_AT_MOST]]
            more = sum(count for _, count in named[NAMED_AT_MOST:])
            words += [f"others {more:,}"] if more else []
            lines.append(f"{row['name']}: register {verb}: {', '.join(words) or 'none'}")
        per_frame = f", {done['interrupts'] / frames:.2f} a frame" if frames else ""
        lines.append(
            f"{row['name']}: DMA: {done['dma_read_bytes']:,} bytes read, {done['dma_written_bytes']:,} written;"
            f" interrupts: {done['interrupts']:,}{per_frame}"
        )
    return "\n".join(lines)

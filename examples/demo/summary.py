"""The words for what a run of the demo found out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from examples.demo.outcome import Outcome

__all__ = ["by_count", "per_frame", "size", "summary"]

REGISTERS_NAMED = 6


def summary(outcome: Outcome) -> Iterator[str]:
    """The lines that end the demo."""
    yield outcome.path
    if outcome.linux is not None:
        yield f"Linux {outcome.linux.release} in QEMU {outcome.linux.qemu}, up in {outcome.linux.boot_s:.1f} s, said:"
        yield from (f"  {line}" for line in outcome.linux.said)
    yield ""
    yield f"  {'ping, us':<16}{'p50':>8}{'p90':>8}{'p99':>8}{'lost':>14}"
    for name, pings in outcome.pings.items():
        figures = "".join(f"{pings.percentile_us(percent):>8.0f}" for percent in (50, 90, 99))
        yield f"  {name:<16}{figures}{f'{pings.lost} of {pings.sent}':>14}"
    yield ""
    for name, stream in outcome.streams.items():
        yield f"  {name}: {stream.gbps:.2f} Gbit/s ({size(stream.octets)} in {stream.seconds:.1f} s)"
    if (echoes := outcome.echoes) is not None:
        yield f"  UDP echo through nic0: {echoes.per_s:,.0f}/s ({echoes.lost:,} of {echoes.sent:,} lost)"
    if outcome.streams:
        yield ""
    yield f"  {'client':<10}{'kind':<10}{'tx frames':>12}{'rx frames':>12}   drops"
    for client in outcome.report.clients.values():
        yield f"  {client.name:<10}{client.kind:<10}{client.tx_frames:>12,}{client.rx_frames:>12,}   {client.drops}"
    for name, device in outcome.report.devices.items():
        yield ""
        yield f"  what the driver did to {name}, traced"
        yield f"    register reads   {_named(device.reads)}"
        yield f"    register writes  {_named(device.writes)}"
        yield f"    DMA              {size(device.dma_read_bytes)} read, {size(device.dma_written_bytes)} written"
        yield f"    interrupts       {device.interrupts:,}, {per_frame(outcome, name):.2f} a frame"


def by_count(accesses: Mapping[str, int], at_most: int) -> list[tuple[str, int]]:
    """Registers by how often they were accessed, the last standing for all others if there are more than `at_most`."""
    ordered = sorted(accesses.items(), key=lambda item: -item[1])
    if len(ordered) <= at_most:
        return ordered
    others = ordered[at_most - 1 :]
    return [*ordered[: at_most - 1], ("others", sum(count for _, count in others))]


def per_frame(outcome: Outcome, device: str) -> float:
    """Interrupts for each frame that a device sent or received."""
    return outcome.report.devices[device].interrupts / max(1, outcome.report.frames_of(device))


def size(octets: float) -> str:
    """Bytes for people: `6.12 GB`."""
    for unit in ("B", "kB", "MB"):
        if octets < 1000:
            return f"{octets:.3g} {unit}"
        octets /= 1000
    return f"{octets:.3g} GB"


def _named(accesses: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in by_count(accesses, REGISTERS_NAMED))

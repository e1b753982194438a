"""The figures of a run, drawn: what was done to the registers, the headline numbers, the round trips."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape

from examples.demo.outcome import Outcome, Pings
from examples.demo.summary import by_count, per_frame, size
from examples.demo.svg import box, microseconds, text

__all__ = ["histogram", "registers", "tiles"]

TOP = 624  # of the lowest row
REGISTERS_SHOWN = 5


def registers(outcome: Outcome) -> Iterator[str]:
    """Accesses by register, as bars as long as the logarithm of their number."""
    device = outcome.report.devices["nic0"]
    yield box(44, 434, 578, 164, "panel")
    yield text(64, 462, "what the driver did to nic0", "head")
    accesses: tuple[tuple[int, str, Mapping[str, int]], ...] = (
        (64, "register reads", device.reads),
        (348, "register writes", device.writes),
    )
    most = max((count for _, _, named in accesses for count in named.values()), default=1)
    for left, words, named in accesses:
        yield text(left, 480, words, "note")
        for place, (name, count) in enumerate(by_count(named, REGISTERS_SHOWN)):
            y = 499 + 17 * place
            length = 254 * min(1.0, math.log10(1 + count) / math.log10(1 + most))
            yield box(left, y - 11, length, 14, "bar-register", 3)
            yield text(left + 6, y, name, "figure")
            yield text(left + 248, y, f"{count:,}", "figure", "end")
    dma = f"DMA: {size(device.dma_read_bytes)} read, {size(device.dma_written_bytes)} written"
    yield text(64, 587, f"{dma}  \u00b7  {device.interrupts:,} interrupts", "note")


def tiles(outcome: Outcome) -> Iterator[str]:
    """The headline numbers, two rows of three."""
    stream, echoes = outcome.stream, outcome.nic.echoes
    figures = (
        (f"{stream.gbps:.3g}", "Gbit/s", outcome.transport, f"{size(stream.octets)} in {stream.seconds:.1f} s"),
        _trip(outcome.idle, "median ping, idle"),
        _trip(outcome.loaded, "beside the stream"),
        (f"{echoes.per_s:,.0f}", "/s", "UDP echoes, nic0", f"{echoes.lost:,} of {echoes.sent:,} lost"),
        _trip(outcome.nic.pings, "median ping, nic0"),
        (f"{per_frame(outcome, 'nic0'):.2f}", "irq/frame", "nic0 to its driver", _interrupts(outcome)),
    )
    for place, (figure, unit, words, more) in enumerate(figures):
        x, y = 44 + 198 * (place % 3), TOP + 96 * (place // 3)
        yield box(x, y, 182, 80, "panel")
        figure += f'<tspan class="unit" dx="5">{escape(unit)}</tspan>'
        yield f'<text class="big" x="{x + 16}" y="{y + 33}">{figure}</text>'
        yield text(x + 16, y + 52, words, "note")
        yield text(x + 16, y + 68, more, "note")


def histogram(outcome: Outcome) -> Iterator[str]:
    """Round trips on a logarithmic axis, all series over each other."""
    left, right, base, top = 696, 1256, TOP + 136, TOP + 54
    yield box(668, TOP, 616, 176, "panel")
    yield text(left, TOP + 32, "round trips, us", "head")
    series = (
        (962, "idle", "idle", outcome.idle),
        (1016, "loaded", "beside the stream", outcome.loaded),
        (1150, "nic", "through nic0", outcome.nic.pings),
    )
    trips = [trip for *_, pings in series for trip in pings.round_trips_us]
    if not trips:
        return
    low, high = math.floor(math.log10(min(trips)) * 4) / 4, math.ceil(math.log10(max(trips)) * 4) / 4 + 0.05
    bins, scale = 60, (right - left) / (high - low)
    for x, name, words, pings in series:
        counts = [0] * bins
        for trip in pings.round_trips_us:
            counts[min(bins - 1, int((math.log10(trip) - low) / (high - low) * bins))] += 1
        step, most = (right - left) / bins, max(counts) or 1
        for place, count in enumerate(counts):
            if count:
                height = max(1.5, (base - top) * count / most)
                yield box(
                    round(left + place * step, 1), round(base - height, 1), step - 1.5, height, f"bar-{name}", 1.5
                )
        yield box(x, TOP + 21, 11, 11, f"bar-{name}", 3)
        yield text(x + 17, TOP + 31, words, "note")
    yield f'<line class="axis" x1="{left}" x2="{right}" y1="{base}" y2="{base}"/>'
    for power in range(math.ceil(low) - 1, math.floor(high) + 1):
        for digit in (1, 2, 5):
            tick = round(left + (power + math.log10(digit) - low) * scale, 1)
            if left <= tick <= right:
                yield f'<line class="axis" x1="{tick}" x2="{tick}" y1="{base}" y2="{base + 5}"/>'
                yield text(tick, base + 20, f"{digit * 10.0**power:,g}", "note", "middle")


def _trip(pings: Pings, words: str) -> tuple[str, str, str, str]:
    lost = f", {pings.lost} lost" if pings.lost else ""
    return microseconds(pings, 50), "us", words, f"p90 {microseconds(pings, 90)}, p99 {microseconds(pings, 99)}{lost}"


def _interrupts(outcome: Outcome) -> str:
    return f"{outcome.report.devices['nic0'].interrupts:,} for {outcome.report.frames_of('nic0'):,}"

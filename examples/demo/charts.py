"""The figures of a run, drawn: what was done to the registers, the headline numbers, the round trips."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape

from examples.demo.outcome import Outcome, Pings
from examples.demo.summary import by_count, per_frame, size
from examples.demo.svg import box, microseconds, text

__all__ = ["histogram", "registers", "said", "tiles"]

TOP = 624  # of the lowest row
REGISTERS_SHOWN = 5
SERIES = ("idle", "loaded", "nic")  # the style's classes, in the order of drawing
LETTER_WIDTH = 6.2
SAID_LINES, SAID_COLUMNS = 6, 92


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


def said(outcome: Outcome) -> Iterator[str]:
    """What the guest's kernel said of the NIC, if there was one."""
    if (linux := outcome.linux) is not None:
        yield box(668, 434, 616, 164, "panel")
        yield text(688, 462, f"what Linux {linux.release} said of nic0", "head")
        yield text(1264, 462, f"up in {linux.boot_s:.1f} s", "note", "end")
        for place, line in enumerate(linux.said[-SAID_LINES:]):
            yield text(688, 487 + 19 * place, textwrap.shorten(line, SAID_COLUMNS), "said")


def tiles(outcome: Outcome) -> Iterator[str]:
    """The headline numbers, two rows of three."""
    figures = [
        (f"{stream.gbps:.3g}", "Gbit/s", name, f"{size(stream.octets)} in {stream.seconds:.1f} s")
        for name, stream in outcome.streams.items()
    ]
    figures += [_trip(pings, f"median ping, {name}") for name, pings in outcome.pings.items()]
    if (echoes := outcome.echoes) is not None:
        figures.append((f"{echoes.per_s:,.0f}", "/s", "UDP echoes, nic0", f"{echoes.lost:,} of {echoes.sent:,} lost"))
    figures.append((f"{per_frame(outcome, 'nic0'):.2f}", "irq/frame", "nic0 to its driver", _interrupts(outcome)))
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
    series = tuple(zip(SERIES, outcome.pings.items(), strict=False))
    trips = [trip for _, (_, pings) in series for trip in pings.round_trips_us]
    if not trips:
        return
    low, high = math.floor(math.log10(min(trips)) * 4) / 4, math.ceil(math.log10(max(trips)) * 4) / 4 + 0.05
    bins, scale = 60, (right - left) / (high - low)
    x: float = right
    for kind, (words, pings) in reversed(series):
        counts = [0] * bins
        for trip in pings.round_trips_us:
            counts[min(bins - 1, int((math.log10(trip) - low) / (high - low) * bins))] += 1
        step, most = (right - left) / bins, max(counts) or 1
        for place, count in enumerate(counts):
            if count:
                height = max(1.5, (base - top) * count / most)
                yield box(
                    round(left + place * step, 1), round(base - height, 1), step - 1.5, height, f"bar-{kind}", 1.5
                )
        x -= 36 + LETTER_WIDTH * len(words)
        yield box(x, TOP + 21, 11, 11, f"bar-{kind}", 3)
        yield text(x + 17, TOP + 31, words, "note")
    yield f'<line class="axis" x1="{left}" x2="{right}" y1="{base}" y2="{base}"/>'
    for power in range(math.ceil(low) - 1, math.floor(high) + 1):
        for digit in (1, 2, 5):
            tick = round(left + (power + math.log10(digit) - low) * scale, 1)
            if left <= tick <= right:
                yield f'<line class="axis" x1="{tick}" x2="{tick}" y1="{base}" y2="{base + 5}"/>'
                yield text(tick, base + 20, f"{digit * 10.0**power:,g}", "note", "middle")


def _trip(pings: Pings, words: str) -> tuple[str, str, str, str]:
    more = f"p90 {microseconds(pings, 90)}, p99 {microseconds(pings, 99)}"
    if pings.lost:
        more = f"p99 {microseconds(pings, 99)}, {pings.lost} of {pings.sent} lost"
    return microseconds(pings, 50), "us", words, more


def _interrupts(outcome: Outcome) -> str:
    return f"{outcome.report.devices['nic0'].interrupts:,} for {outcome.report.frames_of('nic0'):,}"

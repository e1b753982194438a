"""Two taps and a hub between them: frames, one TCP stream, round trips."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bench.harness import Benchmark, Goal
from bench.stage import SIDES, Stage, joined
from bench.traffic import ping_microseconds, tcp_gbps, udp_fps

__all__ = ["BENCHMARKS"]


def _sides(measure: Callable[[Stage, float], float], *names: str) -> dict[str, Callable[[float], float]]:
    def once(name: str, seconds: float) -> float:
        with joined(SIDES[name]) as stage:
            return measure(stage, seconds)

    return {name: partial(once, name) for name in names}


BENCHMARKS = (
    Benchmark(
        "frames",
        "64-byte UDP frames through tap, hub, tap",
        "frames/s",
        _sides(udp_fps, "etherloom", "qemu", "vde", "c-loop"),
        (Goal("qemu", 0.95, 1.05), Goal("vde", 2.0, 3.0)),
    ),
    Benchmark(
        "tcp",
        "one TCP stream through tap, hub, tap",
        "Gbit/s",
        _sides(tcp_gbps, "etherloom", "qemu", "bridge", "c-loop-vnet"),
        (Goal("qemu", 6.0, 9.0), Goal("bridge", None, 0.9)),
    ),
    Benchmark(
        "ping",
        "median round trip, one every 2 ms",
        "us",
        _sides(partial(ping_microseconds, interval_s=0.002), "etherloom", "qemu", "c-loop", "python-loop"),
        (Goal("qemu", 1.1, 0.9),),
        more_is_better=False,
    ),
    Benchmark(
        "ping-flood",
        "median round trip, back to back",
        "us",
        _sides(partial(ping_microseconds, interval_s=None), "etherloom", "qemu", "c-loop"),
        (Goal("qemu", 1.1, 0.9),),
        more_is_better=False,
    ),
)

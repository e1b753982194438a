"""Many ports on a hub, many clients in a network. In processes of their own: memory is measured too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from bench.harness import Benchmark, Goal

__all__ = ["BENCHMARKS"]


def _alone(function: str, *arguments: int) -> Callable[[float], float]:
    """A function of `bench.alone`, called in a fresh process."""

    def measure(_: float) -> float:
        command = [sys.executable, "-m", "bench.alone", function, *map(str, arguments)]
        return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)

    return measure


BENCHMARKS = (
    Benchmark(
        "hub-ports",
        "one sender on a hub of memory peers, cost per delivered frame",
        "ns",
        {"64 ports": _alone("delivery_ns", 64), "4 ports": _alone("delivery_ns", 4)},
        (Goal("4 ports", 1.2, 1.0),),
        more_is_better=False,
    ),
    Benchmark(
        "clients-time",
        "1,000 net clients from a TOML file, from reading it to a wired network",
        "s",
        {"etherloom": _alone("clients_seconds", 1000)},
        (Goal("", 1.5, 0.5),),
        more_is_better=False,
    ),
    Benchmark(
        "clients-memory",
        "1,000 net clients from a TOML file, memory of each",
        "KiB",
        {"etherloom": _alone("clients_kib", 1000)},
        (Goal("", 20, 8),),
        more_is_better=False,
    ),
    Benchmark(
        "clients-process",
        "1,000 net clients from a TOML file, memory of the whole process",
        "MiB",
        {"etherloom": _alone("process_mib", 1000)},
        more_is_better=False,
    ),
)

"""Many ports on a hub, many clients in a network. In processes of their own: memory is measured too."""

from __future__ import annotations

from bench.harness import Benchmark, Goal
from bench.process import alone

__all__ = ["BENCHMARKS"]

MODULE = "bench.alone"


BENCHMARKS = (
    Benchmark(
        "hub-ports",
        "one sender on a hub of memory peers, cost per delivered frame",
        "ns",
        {"64 ports": alone(MODULE, "delivery_ns", 64), "4 ports": alone(MODULE, "delivery_ns", 4)},
        (Goal("4 ports", 1.2, 1.0),),
        more_is_better=False,
    ),
    Benchmark(
        "clients-time",
        "1,000 net clients from a TOML file, from reading it to a wired network",
        "s",
        {"etherloom": alone(MODULE, "clients_seconds", 1000)},
        (Goal("", 1.5, 0.5),),
        more_is_better=False,
    ),
    Benchmark(
        "clients-memory",
        "1,000 net clients from a TOML file, memory of each",
        "KiB",
        {"etherloom": alone(MODULE, "clients_kib", 1000)},
        (Goal("", 20, 8),),
        more_is_better=False,
    ),
    Benchmark(
        "clients-process",
        "1,000 net clients from a TOML file, memory of the whole process",
        "MiB",
        {"etherloom": alone(MODULE, "process_mib", 1000)},
        more_is_better=False,
    ),
)

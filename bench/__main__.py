"""`script/bench [--rounds N] [--seconds S] [name ...]`: run the benchmarks, or list them."""

from __future__ import annotations

import argparse
import sys

from bench import bus, guest, nic, scale, startup, taps
from bench.harness import format_result, machine, measure

BENCHMARKS = {
    benchmark.name: benchmark for module in (taps, scale, startup, nic, bus, guest) for benchmark in module.BENCHMARKS
}


def main() -> int:
    """Run what the arguments say. A goal that is missed is for the reader: the exit code is 0."""
    parser = argparse.ArgumentParser(prog="script/bench", description="Measure Etherloom beside its peers.")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how often each side is measured (5)")
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="how long each time (2)")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("names", nargs="*", metavar="name", help="which ones; all of them by default")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    if arguments.list:
        for benchmark in BENCHMARKS.values():
            print(f"{benchmark.name:<16}{benchmark.what} ({', '.join(benchmark.sides)})")
        return 0
    print(machine(), f"script/bench {' '.join(sys.argv[1:])}".rstrip(), "", sep="\n")
    for name in arguments.names or BENCHMARKS:
        result = measure(BENCHMARKS[name], arguments.rounds, arguments.seconds, _progress)
        _progress("")
        print(*format_result(result), "", sep="\n", flush=True)
    return 0


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())

"""The vfio-user bus: what clients on sockets wait for a register.

`python -m bench.bus SOCKET SECONDS` is one of them.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from bench.harness import Benchmark, Goal
from bench.stage import await_line, etherloom_command
from etherloom_rtl8139.registers import Registers
from etherloom_vfio_user.testing import Client

__all__ = ["BENCHMARKS"]

BAR = 1

# `etherloom run`, but of a process that goes to sleep as soon as there is nothing to do.
WITHOUT_POLLING = """
from etherloom import context
from etherloom.loop import direct
context.POLLING_HELPS = direct.POLLING_HELPS = False
from etherloom.cli import main
main()
"""

# The same on one CPU, where nobody polls, and the clients on it, too.
ONE_CPU = ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))]


def read_microseconds(side: str, seconds: float, devices: int) -> float:
    """Median time of 16-bit register reads, one after the other, by a client that sleeps for the answer.

    Args:
        side: Etherloom as it is, `without-polling`, or with its clients on one CPU.
        seconds: How long.
        devices: So many in one process, and a client for each at the same time.
    """
    program = [sys.executable, "-c", WITHOUT_POLLING, "run"] if side == "without-polling" else etherloom_command()
    pinned = ONE_CPU if side == "one-cpu" else []
    with tempfile.TemporaryDirectory(prefix="etherloom-bench-") as folder:
        paths = [Path(folder, str(number)) for number in range(devices)]
        arguments = []
        for number, path in enumerate(paths):
            arguments += ["-netdev", f"noop,id=n{number}"]
            arguments += ["-device", f"rtl8139,netdev=n{number},bus=vfio-user,socket={path}"]
        with subprocess.Popen([*pinned, *program, "--json", *arguments], stdout=subprocess.PIPE, text=True) as run:
            assert run.stdout is not None
            try:
                await_line(run.stdout, '"ready"')
                command = [*pinned, sys.executable, "-m", __name__]
                clients = [
                    subprocess.Popen([*command, path, str(seconds)], stdout=subprocess.PIPE, text=True)
                    for path in paths
                ]
                return statistics.median(float(client.communicate()[0]) for client in clients)
            finally:
                run.terminate()
                run.stdout.read()


def _median_us(client: Client, seconds: float) -> float:
    times, end = [], time.monotonic_ns() + int(seconds * 1e9)
    while (start := time.monotonic_ns()) < end:
        client.read(BAR, Registers.IMR.offset, Registers.IMR.width)
        times.append(time.monotonic_ns() - start)
    return statistics.median(times) / 1000


BENCHMARKS = tuple(
    Benchmark(
        name,
        f"register read by a client on the vfio-user socket, median{more}",
        "us",
        {
            side: partial(read_microseconds, side, devices=devices)
            for side in ("etherloom", "without-polling", "one-cpu")
        },
        (Goal("without-polling", bound, aim),),
        more_is_better=False,
    )
    for name, devices, more, bound, aim in (
        ("bus-read", 1, "", 0.65, 0.5),
        ("bus-read-4", 4, "; four devices of one process, read at the same time", None, 1.0),
    )
)

if __name__ == "__main__":
    with Client(Path(sys.argv[1])) as reader:
        reader.introduce()
        print(_median_us(reader, float(sys.argv[2])))

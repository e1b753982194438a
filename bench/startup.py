"""From the start of a process to the first frame it forwards."""

from __future__ import annotations

import os
import select
import subprocess
import time
from functools import partial

from bench.harness import Benchmark, Goal, Unavailable
from bench.stage import IFNAME, PROBE, etherloom_command, netdev_arguments, packet_socket, qemu_command
from etherloom_tap.lab import Lab

__all__ = ["BENCHMARKS"]

PATIENCE_SECONDS = 10.0


def first_frame_seconds(name: str, _: float) -> float:
    """Seconds until a frame that waits in one tap is seen in the other."""
    command = etherloom_command() if name == "etherloom" else qemu_command()
    with Lab() as lab:
        ends = [lab.namespace("a"), lab.namespace("b")]
        fds = [end.tap(IFNAME) for end in ends]
        try:
            for end in ends:
                end.configure(IFNAME)
            with packet_socket(ends[0]) as sender, packet_socket(ends[1]) as receiver:
                sender.send(PROBE)  # the tap keeps it until somebody reads
                start = time.monotonic()
                ends[0].start(
                    command + netdev_arguments(fds),
                    pass_fds=fds,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                if not select.select([receiver], [], [], PATIENCE_SECONDS)[0]:
                    raise Unavailable(f"no frame passed in {PATIENCE_SECONDS:g} s")
                return time.monotonic() - start
        finally:
            for fd in fds:
                os.close(fd)


BENCHMARKS = (
    Benchmark(
        "start",
        "from starting the process to the first frame forwarded",
        "s",
        {name: partial(first_frame_seconds, name) for name in ("etherloom", "qemu")},
        (Goal("", 0.6, 0.35),),
        more_is_better=False,
    ),
)

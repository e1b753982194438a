"""Where time comes from. A frame never asks for it; time-outs and timers ask the context's clock, never the loop's."""

from __future__ import annotations

import os
import time

__all__ = ["POLLING_HELPS", "Clock"]


class Clock:
    """The monotonic clock, in whole nanoseconds from an arbitrary start (QEMU's `realtime` clock, L-07)."""

    def now_ns(self) -> int:
        """Nanoseconds since the clock's start; never goes back."""
        return time.monotonic_ns()


def _cpus() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


POLLING_HELPS = _cpus() > 1
"""Whether to look for an event beats to sleep until it comes: alone on a CPU, that takes the time of who causes it."""

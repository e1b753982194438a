"""Where time comes from. A frame never asks for it; time-outs and timers ask the context's clock, never the loop's."""

from __future__ import annotations

import time

__all__ = ["Clock"]


class Clock:
    """The monotonic clock, in whole nanoseconds from an arbitrary start (QEMU's `realtime` clock, L-07)."""

    def now_ns(self) -> int:
        """Nanoseconds since the clock's start; never goes back."""
        return time.monotonic_ns()

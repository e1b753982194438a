"""The tally counters that C+ drivers dump into memory (DTCCR).

Differs from QEMU (R-65): a frame that the filter rejects is not a receive error.
"""

from __future__ import annotations

import struct

from etherloom_rtl8139.filter import BAR, MAR

__all__ = ["TALLY_BYTES", "Tally"]

# TxOk, RxOk, TxErr; RxErr; missed, FAE; one, several collisions; RxOk unicast, broadcast; multicast; aborts, underruns
LAYOUT = struct.Struct("<QQQIHHIIQQIHH")
TALLY_BYTES = LAYOUT.size


class Tally:
    """Counts since the last reset; each wraps at its width in the dump."""

    def __init__(self) -> None:
        self.tx_ok = self.tx_err = self.rx_ok = self.rx_err = self.missed = 0
        self.unicast = self.multicast = self.broadcast = 0

    def received(self, status: int) -> None:
        """A frame was stored; `status` has the bit of its kind of address."""
        self.rx_ok += 1
        if status & BAR:
            self.broadcast += 1
        elif status & MAR:
            self.multicast += 1
        else:
            self.unicast += 1

    def transmitted(self) -> None:
        """A frame left."""
        self.tx_ok += 1

    def pack(self) -> bytes:
        """The dump."""
        long, word, half = (1 << 64) - 1, (1 << 32) - 1, (1 << 16) - 1
        return LAYOUT.pack(
            self.tx_ok & long,
            self.rx_ok & long,
            self.tx_err & long,
            self.rx_err & word,
            self.missed & half,
            0,
            0,
            0,
            self.unicast & long,
            self.broadcast & long,
            self.multicast & word,
            0,
            0,
        )

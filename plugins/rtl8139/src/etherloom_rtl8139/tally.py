"""The tally counters that C+ drivers dump into memory (DTCCR)."""

from __future__ import annotations

import struct

__all__ = ["Tally"]

# TxOk, RxOk, TxErr; RxErr; missed, FAE; one, several collisions; RxOk unicast, broadcast; multicast; aborts, underruns
LAYOUT = struct.Struct("<QQQIHHIIQQIHH")


class Tally:
    """Counts since power-on; each wraps at its width in the dump. A virtual wire has no collisions and no bad frames.

    Differs from QEMU (R-65): a frame that the filter rejects is not a receive error, and one that is missed is in
    `missed` alone.
    """

    def __init__(self) -> None:
        self.tx_ok = self.tx_err = self.rx_ok = self.missed = self.multicast = self.broadcast = 0

    def received(self, frames: int, multicast: int, broadcast: int) -> None:
        """Frames of one kind were stored; whether they were for many or for all."""
        self.rx_ok += frames
        if multicast:
            self.multicast += frames
        elif broadcast:
            self.broadcast += frames

    def pack(self) -> bytes:
        """The dump."""
        unicast = self.rx_ok - self.broadcast - self.multicast
        head = (self.tx_ok, self.rx_ok, self.tx_err, 0, self.missed & 0xFFFF, 0, 0, 0)
        return LAYOUT.pack(*head, unicast, self.broadcast, self.multicast & 0xFFFFFFFF, 0, 0)

"""What an endpoint counts: frames, bytes and drops by reason.

The data path counts, never the plugin: a frame that was handed to `send` shows up either in the sender's `tx` or
in the sender's `drops`, and a frame offered to a receiver ends in that receiver's `rx`, `drops` or queue.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Counters", "Drop"]


class Drop(StrEnum):
    """Why a frame went no further. The first four are counted at the sender, the others at the receiver."""

    NO_PEER = "no-peer"
    LINK_DOWN = "link-down"
    SHORT = "short"  # under 14 bytes: no Ethernet header
    GIANT = "giant"  # over 69,632 bytes, QEMU's limit (C-31)
    QUEUE_FULL = "queue-full"
    PURGED = "purged"  # queued when its sender was deleted (C-39)
    REMOVED = "removed"  # the receiver was deleted while the frame was on its way
    RECEIVER_ERROR = "receiver-error"  # `receive` raised
    MALFORMED = "malformed"  # a vnet header that contradicts its frame
    HOST_ERROR = "host-error"  # the host refused the frame: interface down, no memory
    REFUSED = "refused"  # the device or its filter did not want it


class Counters:
    """Counters of one net client. `tx` is out of the client into the network, `rx` the other way.

    Attributes:
        tx_frames, tx_bytes: Frames the client sent on a wire; bytes without a virtio-net header.
        rx_frames, rx_bytes: Frames its `receive` took, including those it then dropped and counted itself.
        drops: Frames lost, by reason.
        pauses: How often `send` asked the client to pause.
    """

    __slots__ = ("drops", "pauses", "rx_bytes", "rx_frames", "tx_bytes", "tx_frames")

    def __init__(self) -> None:
        self.tx_frames = self.tx_bytes = self.rx_frames = self.rx_bytes = self.pauses = 0
        self.drops: dict[Drop, int] = {}

    def add_tx(self, frames: int, octets: int) -> None:
        """Count frames sent."""
        self.tx_frames += frames
        self.tx_bytes += octets

    def add_rx(self, frames: int, octets: int) -> None:
        """Count frames received."""
        self.rx_frames += frames
        self.rx_bytes += octets

    def drop(self, reason: Drop, frames: int = 1) -> None:
        """Count `frames` frames lost for `reason`."""
        self.drops[reason] = self.drops.get(reason, 0) + frames

    @property
    def dropped(self) -> int:
        """Frames lost, all reasons together."""
        return sum(self.drops.values())

    def as_dict(self) -> dict[str, object]:
        """Plain data for JSON: the attributes by name, `drops` as `{reason: frames}`."""
        return {
            "tx_frames": self.tx_frames,
            "tx_bytes": self.tx_bytes,
            "rx_frames": self.rx_frames,
            "rx_bytes": self.rx_bytes,
            "pauses": self.pauses,
            "drops": {reason.value: count for reason, count in sorted(self.drops.items())},
        }

"""The virtio-net header: what a frame's sender left undone.

Models struct virtio_net_hdr of linux/virtio_net.h, ten bytes in the host's byte order, as a Linux tap speaks it unless
told otherwise (virtio 1.2 section 5.1.6, legacy interface). Deliberately not: `num_buffers`, hash reports and tunnel
fields; no client of ours announces them (C-70).
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag

import attrs

from etherloom.client import Frame

__all__ = ["GSO_ECN", "GsoType", "MalformedOffload", "VnetFlag", "VnetHeader"]

LAYOUT = struct.Struct("=BBHHHH")

GSO_ECN = 0x80  # VIRTIO_NET_HDR_GSO_ECN: or-ed to a TCP type when the frame carries CWR


class MalformedOffload(ValueError):
    """A virtio-net header that contradicts its frame, or asks for what was never offered: the sender's fault."""


class VnetFlag(IntFlag):
    """VIRTIO_NET_HDR_F_*. A receiver ignores bits it does not know (virtio 1.2 section 5.1.6.2.2)."""

    NEEDS_CSUM = 1  # sum from csum_start to the end, store at csum_start + csum_offset
    DATA_VALID = 2  # checksums were verified; says nothing about work left
    RSC_INFO = 4  # csum_start and csum_offset count coalesced segments instead


class GsoType(IntEnum):
    """VIRTIO_NET_HDR_GSO_*: how to cut a frame that is longer than the wire allows."""

    NONE = 0
    TCPV4 = 1
    UDP = 3  # UFO: fragment one datagram
    TCPV6 = 4
    UDP_L4 = 5  # USO: cut into datagrams


@attrs.frozen(kw_only=True)
class VnetHeader:
    """One header, as an object: for sources that ask for an offload, and for tests. The data path reads tuples.

    Attributes:
        flags: See `VnetFlag`; unknown bits are kept.
        gso_type: What to segment as.
        ecn: The TCP frame carries CWR, which only its first segment may keep (RFC 3168 section 6.1.2).
        hdr_len: Bytes of all headers, a hint that receivers must not trust.
        gso_size: Payload bytes of each segment but the last; 0 without segmentation.
        csum_start: Where to start summing, in bytes from the frame's first.
        csum_offset: Where to store the checksum, in bytes from `csum_start`.
    """

    flags: VnetFlag = attrs.field(default=VnetFlag(0), converter=VnetFlag)
    gso_type: GsoType = GsoType.NONE
    ecn: bool = False
    hdr_len: int = 0
    gso_size: int = 0
    csum_start: int = 0
    csum_offset: int = 0

    def pack(self) -> bytes:
        """The ten bytes to put in front of the frame.

        Raises:
            struct.error: A number is not in its field's range: the caller's fault.
        """
        gso_type = self.gso_type | (GSO_ECN if self.ecn else 0)
        return LAYOUT.pack(self.flags, gso_type, self.hdr_len, self.gso_size, self.csum_start, self.csum_offset)

    @classmethod
    def unpack(cls, frame: Frame) -> VnetHeader:
        """The header in front of `frame`, which may be the header alone.

        Args:
            frame: At least ten bytes; borrowed until return.

        Raises:
            MalformedOffload: Too short, or a `gso_type` that does not exist. Whether the numbers fit the frame
                is for `complete` to find out.
        """
        if len(frame) < LAYOUT.size:
            raise MalformedOffload(f"{len(frame)} bytes hold no virtio-net header")
        flags, gso_type, hdr_len, gso_size, csum_start, csum_offset = LAYOUT.unpack_from(frame)
        try:
            kind = GsoType(gso_type & ~GSO_ECN)
        except ValueError:
            raise MalformedOffload(f"gso_type {gso_type:#x} does not exist") from None
        return cls(
            flags=VnetFlag(flags),
            gso_type=kind,
            ecn=bool(gso_type & GSO_ECN),
            hdr_len=hdr_len,
            gso_size=gso_size,
            csum_start=csum_start,
            csum_offset=csum_offset,
        )

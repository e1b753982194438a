"""The vfio-user protocol's messages: numbers, layouts and limits.

Source: QEMU's docs/interop/vfio-user.rst and, where clients differ from it, what they send. Host byte order, which is
little-endian on every host that QEMU's client runs a PC on; structures packed; offsets below count from the payload.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from struct import Struct

__all__ = [
    "ACCESS",
    "CONFIG_REGION",
    "DATA_MAX",
    "DEVICE_INFO",
    "DEVICE_PCI",
    "DEVICE_RESETS",
    "DMA_DATA",
    "DMA_MAP",
    "DMA_UNMAP",
    "ERROR",
    "FDS_MAX",
    "HEADER",
    "HEADER_BYTES",
    "IRQS",
    "IRQ_INFO",
    "MESSAGE_MAX",
    "NO_REPLY",
    "REGIONS",
    "REGION_INFO",
    "REGION_IO_FDS",
    "REPLY",
    "SET_IRQS",
    "TYPE",
    "VERSION",
    "WRITE",
    "WRITES",
    "Command",
    "Irq",
    "IrqAction",
    "IrqData",
    "IrqInfo",
    "MapFlag",
    "Refusal",
    "RegionFlag",
    "UnmapFlag",
]


class Command(IntEnum):
    """What a message asks for. All from the client, but for the two DMA_READ and DMA_WRITE."""

    VERSION = 1
    DMA_MAP = 2
    DMA_UNMAP = 3
    DEVICE_GET_INFO = 4
    DEVICE_GET_REGION_INFO = 5
    DEVICE_GET_REGION_IO_FDS = 6
    DEVICE_GET_IRQ_INFO = 7
    DEVICE_SET_IRQS = 8
    REGION_READ = 9
    REGION_WRITE = 10
    DMA_READ = 11
    DMA_WRITE = 12
    DEVICE_RESET = 13
    REGION_WRITE_MULTI = 15
    DEVICE_FEATURE = 16
    MIG_DATA_READ = 17
    MIG_DATA_WRITE = 18


HEADER = Struct("<HHIII")  # id, command, size of the whole message, flags, error
HEADER_BYTES = HEADER.size

TYPE, REPLY, NO_REPLY, ERROR = 0x0F, 0x01, 0x10, 0x20  # of the header's flags; a command has type 0

# The longest message that a client has reason to send is a WRITE_MULTI of 200 writes, 4,824 bytes. The buffer is twice
# the longest message that is accepted; at 3 us for each of the 512 reads that fit in, it keeps others waiting 1.5 ms.
DATA_MAX = 8192
MESSAGE_MAX = DATA_MAX + 32
FDS_MAX = 16  # in one message; QEMU's limit

VERSION = Struct("<HH")  # major, minor; JSON follows
DMA_MAP = Struct("<IIQQQ")  # argsz, flags, file offset, address, size
DMA_UNMAP = Struct("<IIQQ")  # argsz, flags, address, size
DEVICE_INFO = Struct("<IIII")  # argsz, flags, regions, irqs
REGION_INFO = Struct("<IIIIQQ")  # argsz, flags, index, offset of capabilities, size, file offset
REGION_IO_FDS = Struct("<IIII")  # argsz, flags, index, count
IRQ_INFO = Struct("<IIII")  # argsz, flags, index, count
SET_IRQS = Struct("<IIIII")  # argsz, flags, index, start, count; bytes may follow
ACCESS = Struct("<QII")  # offset, region, count; data may follow
WRITES = Struct("<Q")  # how many follow
WRITE = Struct("<QII8s")  # offset, region, count, data
DMA_DATA = Struct("<QQ")  # address, count; data may follow

DEVICE_RESETS, DEVICE_PCI = 0x1, 0x2  # of DEVICE_INFO's flags
REGIONS, CONFIG_REGION = 9, 7  # six BARs, ROM, configuration, VGA
IRQS = 5


class MapFlag(IntFlag):
    """Of DMA_MAP. Without one of the last two the server chooses, and there may be no file."""

    READ = 0x1
    WRITE = 0x2
    MMAP = 0x4
    FILE_IO = 0x8


class UnmapFlag(IntFlag):
    """Of DMA_UNMAP."""

    DIRTY_BITMAP = 0x1
    ALL = 0x2


class RegionFlag(IntFlag):
    """Of REGION_INFO."""

    READ = 0x1
    WRITE = 0x2


class Irq(IntEnum):
    """Interrupt indexes."""

    INTX = 0
    MSI = 1
    MSIX = 2
    ERROR = 3
    REQUEST = 4


class IrqInfo(IntFlag):
    """Of IRQ_INFO."""

    EVENTFD = 0x1
    MASKABLE = 0x2
    AUTOMASKED = 0x4


class IrqData(IntEnum):
    """Of SET_IRQS, exactly one: what follows."""

    NONE = 0x01
    BOOL = 0x02
    EVENTFD = 0x04


class IrqAction(IntEnum):
    """Of SET_IRQS, exactly one: what is to be done."""

    MASK = 0x08
    UNMASK = 0x10
    TRIGGER = 0x20


class Refusal(Exception):
    """A message is answered with an error, and the next one is looked at.

    Args:
        errno: For the reply.
        reason: For the log; empty for what a client may well ask.
    """

    def __init__(self, errno: int, reason: str = "") -> None:
        super().__init__(reason)
        self.errno, self.reason = errno, reason

"""The RTL8139C+'s registers (RTL8139C(L) data sheet 1.4, section 5; C+ additions from its programming guide).

Reset values are those of real boards where dumps are known, else the data sheet's. What a register does when written is
in `etherloom_rtl8139.model`. Registers of C mode are here as far as a C+ driver or a curious guest can see them: they
hold values and drive nothing (TSAD reads all slots free, CAPR and CBR stay an empty ring).

Differs from QEMU (R-19): accesses of any width at any offset are those of their bytes, where QEMU has registers that
answer to one width only.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Any

from etherloom.device import Access, NicModel, Register

__all__ = [
    *("Command", "Config3", "CpCommand", "Csr", "EepromMode", "Interrupt", "MediaStatus", "Poll", "ReceiveConfig"),
    "Registers",
]


class Command(IntFlag):
    """CR."""

    BUFE = 0x01
    TE = 0x04
    RE = 0x08
    RST = 0x10


class Interrupt(IntFlag):
    """IMR and ISR, in C+ mode."""

    ROK = 0x0001
    RER = 0x0002
    TOK = 0x0004
    TER = 0x0008
    RDU = 0x0010
    LINKCHG = 0x0020
    FOVW = 0x0040
    TDU = 0x0080
    SWINT = 0x0100
    LENCHG = 0x2000
    TIMEOUT = 0x4000
    SERR = 0x8000


class ReceiveConfig(IntFlag):
    """RCR: which frames are accepted."""

    AAP = 0x01
    APM = 0x02
    AM = 0x04
    AB = 0x08
    AR = 0x10
    AER = 0x20


class CpCommand(IntFlag):
    """CPCR."""

    TX = 0x0001
    RX = 0x0002
    MULTIPLE_READ = 0x0008
    DUAL_ADDRESS = 0x0010
    RX_CHECKSUM = 0x0020
    RX_VLAN = 0x0040


class Poll(IntFlag):
    """TPPOLL."""

    FSWINT = 0x01
    NPQ = 0x40
    HPQ = 0x80


class MediaStatus(IntFlag):
    """MSR."""

    LINKB = 0x04
    SPEED_10 = 0x08
    AUX = 0x10


class EepromMode(IntFlag):
    """9346CR: the pins, and the mode in the upper two bits."""

    EEDO = 0x01
    EEDI = 0x02
    EESK = 0x04
    EECS = 0x08
    AUTOLOAD = 0x40
    PROGRAM = 0x80
    UNLOCK = 0xC0


class Config3(IntFlag):
    """CONFIG3."""

    LINK_UP = 0x10
    MAGIC = 0x20


class Csr(IntFlag):
    """CSCR: cable and link."""

    CONNECTED = 0x0008
    LINK_OK = 0x0400
    LINK_CHANGED = 0x0800


VERSION = 0x74800000  # TCR bits 30:26, 23:22 of a C+


def unlocked(nic: Any) -> bool:
    """CONFIGn and IDR take writes in 9346CR's mode 11; many drivers forget. Differs from QEMU (R-10): IDR too."""
    return bool(nic.CR9346 & EepromMode.UNLOCK == EepromMode.UNLOCK)


def transmitting(nic: Any) -> bool:
    """TCR takes writes while TE is set."""
    return bool(nic.CR & Command.TE)


class Registers(NicModel):
    """The declarations, by offset. Names are the data sheet's; 9346CR, which is none to Python, is CR9346."""

    IDR = Register(0x00, 6, "station address", allow=unlocked)
    MAR = Register(0x08, 8, "multicast hash filter")
    DTCCR = Register(0x10, 8, "dump tally counters", writable=0xFFFF_FFFF_FFFF_FFC8)
    TNPDS = Register(0x20, 8, "normal priority transmit ring")
    THPDS = Register(0x28, 8, "high priority transmit ring")
    RBSTART = Register(0x30, 4, "receive buffer start (C mode)")
    ERBCR = Register(0x34, 2, "early receive byte count (C mode)", access=Access.RO)
    ERSR = Register(0x36, 1, "early receive status (C mode)", access=Access.RO)
    CR = Register(0x37, 1, "command", bits=Command, reset=Command.BUFE, writable=Command.RST | Command.RE | Command.TE)
    CAPR = Register(0x38, 2, "read pointer less 10h (C mode)", reset=0xFFF0)
    CBR = Register(0x3A, 2, "write pointer (C mode)", access=Access.RO)
    IMR = Register(0x3C, 2, "interrupt mask", bits=Interrupt, writable=0xE1FF)
    ISR = Register(0x3E, 2, "interrupt status", bits=Interrupt, access=Access.W1C)
    TCR = Register(0x40, 4, "transmit configuration", reset=VERSION, writable=0x030F07F0, allow=transmitting)
    RCR = Register(0x44, 4, "receive configuration", bits=ReceiveConfig, writable=0x0F03FFBF)
    TCTR = Register(0x48, 4, "timer count; any write restarts it")
    MPC = Register(0x4C, 4, "missed packets, 24 bits; any write clears")
    CR9346 = Register(0x50, 1, "EEPROM pins, configuration lock (9346CR)", bits=EepromMode, writable=0xCE)
    CONFIG0 = Register(0x51, 1, "configuration 0", reset=0x10, writable=0x07, allow=unlocked)
    CONFIG1 = Register(0x52, 1, "configuration 1", reset=0x4D, writable=0xF3, allow=unlocked)
    TIMERINT = Register(0x54, 4, "timer interrupt; 0 is off")
    MSR = Register(0x58, 1, "media status", bits=MediaStatus, reset=MediaStatus.AUX, writable=0xC0)
    CONFIG3 = Register(0x59, 1, "configuration 3", bits=Config3, reset=0xC1, writable=0x70, allow=unlocked)
    CONFIG4 = Register(0x5A, 1, "configuration 4", reset=0x88, writable=0xF5, allow=unlocked)
    # Differs from QEMU: the C parts have no clock to halt.
    HLTCLK = Register(0x5B, 1, "halt clock; of the A and B parts", access=Access.WO)
    MULINT = Register(0x5C, 2, "multiple interrupt", writable=0x0FFF)
    RERID = Register(0x5E, 1, "revision", access=Access.RO, reset=0x20)
    TSAD = Register(0x60, 2, "transmit status of all slots (C mode)", access=Access.RO, reset=0x000F)
    BMCR = Register(0x62, 2, "basic mode control", reset=0x1100)
    BMSR = Register(0x64, 2, "basic mode status", access=Access.RO, reset=0x782D)
    # Differs from QEMU: no pause frames are offered, since none are sent.
    ANAR = Register(0x66, 2, "auto-negotiation advertisement", reset=0x01E1)
    ANLPAR = Register(0x68, 2, "auto-negotiation link partner", access=Access.RO, reset=0x41E1)
    ANER = Register(0x6A, 2, "auto-negotiation expansion", access=Access.RO, reset=0x0001)
    DIS = Register(0x6C, 2, "disconnects", access=Access.RO)
    FCSC = Register(0x6E, 2, "false carriers", access=Access.RO)
    NWAYTR = Register(0x70, 2, "N-way test", reset=0x0004)
    REC = Register(0x72, 2, "receive errors of the PHY", access=Access.RO)
    # Differs from QEMU: shows the link, and once that it changed.
    CSCR = Register(0x74, 2, "cable and link status", bits=Csr, reset=0x07C8, writable=0xF000)
    # Differs from QEMU: kept, if without effect.
    PHY1_PARM = Register(0x78, 4, "PHY parameter 1", reset=0xB0F243B9)
    TW_PARM = Register(0x7C, 4, "twister parameter", reset=0x8A36DF43)
    PHY2_PARM = Register(0x80, 1, "PHY parameter 2", reset=0x1A)
    CRC = Register(0x84, 8, "wake-up frame CRCs")
    WAKEUP = Register(0x8C, 64, "wake-up frame masks")
    LSBCRC = Register(0xCC, 8, "wake-up frame bytes")
    FLASH = Register(0xD4, 4, "boot flash window")
    CONFIG5 = Register(0xD8, 1, "configuration 5; not locked", reset=0x03, writable=0x7F)
    TPPOLL = Register(0xD9, 1, "transmit priority polling", bits=Poll, access=Access.WO)
    CPCR = Register(0xE0, 2, "C+ command", bits=CpCommand, writable=0x007B)
    RDSAR = Register(0xE4, 8, "receive ring")
    ETTHR = Register(0xEC, 1, "early transmit threshold")

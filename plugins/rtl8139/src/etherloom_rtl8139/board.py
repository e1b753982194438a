"""The board around the chip: what its EEPROM holds, decoded from posted images of real boards.

Word order is the part's own; where a word loads two registers, the low byte comes first. Unknown bytes are as those
boards have them. A board's maker would put its own identity into words 1 to 4.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["PM_WORD", "address", "image"]

ADDRESS_WORDS = range(7, 10)
PM_WORD = 11

# 0 signature; 1-2 PCI identity; 3-4 subsystem; 5 grant and latency; 6 MSR and CONFIG3; 7-9 station address; 10 CONFIG0
# and 1; 11 power management capabilities; 12 unknown and CONFIG4; 13-14 PHY1_PARM; 15 PHY2_PARM and CONFIG5; 16-17
# TW_PARM; 18-21 a second set of tuning values.
BOARD = (
    *(0x8129, 0x10EC, 0x8139, 0x10EC, 0x8139, 0x4020, 0xC110, 0, 0, 0, 0x4D10, 0xF7C2, 0x8801),
    *(0x43B9, 0xB0F2, 0x031A, 0xDF43, 0x8A36, 0xDF43, 0x8A36, 0x43B9, 0xB0F2),
)

FILE_BYTES = 128


VPD = 0x0200  # word 10: CONFIG1.VPD


def image(mac: bytes, vpd: bool = False) -> list[int]:
    """The words of a board with this station address (low byte first: 52:54 is stored 5452).

    With `vpd` iPXE leaves words 32 to 63 alone, which saves it 8512 accesses at start; most boards are without.
    """
    words = list(BOARD)
    words[10] |= VPD if vpd else 0
    for at, word in enumerate(ADDRESS_WORDS):
        words[word] = mac[2 * at] | mac[2 * at + 1] << 8
    return words


def address(words: Sequence[int]) -> bytes:
    """The station address an image holds."""
    return b"".join(words[word].to_bytes(2, "little") for word in ADDRESS_WORDS)

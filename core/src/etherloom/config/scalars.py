"""One value of an option, from QEMU's flat text or from a typed document.

Flat text is read as QEMU 7.2 was seen to read it: booleans are eight lower-case words; integers have C's prefixes for
octal and hexadecimal, leading space and a sign; sizes take a fraction only before a suffix, and no octal. Two
deprecated forms that QEMU still takes are refused: a suffix on a hexadecimal size, and leading space before a size.
"""

from __future__ import annotations

import re
from typing import Any

from etherloom.errors import ConfigError

__all__ = ["boolean", "descriptor", "integer", "shown", "size", "text"]

BOOLEANS = {"on": True, "yes": True, "true": True, "y": True, "off": False, "no": False, "false": False, "n": False}
SUFFIXES = "BKMGTPE"
SIZE_MAX = 2**64 - 1
FD_MAX = 2**31 - 1
INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1

# Length limits keep Python's own limit on digits out of sight; 2**64 has 22 octal digits.
_INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?)(?:0[xX]([0-9a-fA-F]{1,40})|(0[0-7]{0,40})|([1-9][0-9]{0,40}))")
_SIZE = re.compile(r"\+?(?:0[xX]([0-9a-fA-F]{1,40})|([0-9]{1,40})(?:\.([0-9]{0,40}))?([bkmgtpeBKMGTPE]?))")
_DECIMAL = re.compile(r"[0-9]{1,40}")


def shown(value: object) -> str:
    """A value as a message shows it: typed documents have `true`, and nobody wants to read a long one."""
    written = str(value).lower() if isinstance(value, bool) else repr(value)
    return written if len(written) <= 80 else written[:77] + "..."


def text(value: Any, _flat: bool) -> str:
    """Text, as it stands."""
    if isinstance(value, str):
        return value
    raise ConfigError(f"{shown(value)} is not text", allowed="text in quotes")


def boolean(value: Any, flat: bool) -> bool:
    """A switch. Typed documents have booleans of their own, so there `"on"` is a mistake and not a spelling."""
    if not flat:
        if isinstance(value, bool):
            return value
        raise ConfigError(f"{shown(value)} is not a boolean", allowed="true or false, without quotes")
    if value in BOOLEANS:
        return BOOLEANS[value]
    raise ConfigError(f"{shown(value)} is neither on nor off", allowed=", ".join(BOOLEANS))


def integer(value: Any, flat: bool) -> int:
    """A whole number of at most 64 bits, signed."""
    if flat:
        match = _INTEGER.fullmatch(value)
        if match is None:
            raise ConfigError(f"{shown(value)} is not a whole number", allowed="a number such as 10, 0x1f or 017")
        sign, hexadecimal, octal, decimal = match.groups()
        number = int(hexadecimal, 16) if hexadecimal else int(octal, 8) if octal else int(decimal)
        value = -number if sign == "-" else number
    elif not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"{shown(value)} is not a whole number", allowed="a number without quotes")
    if INTEGER_MIN <= value <= INTEGER_MAX:
        return int(value)
    raise ConfigError(f"{shown(value)} is out of range", allowed="64 bits, signed")


def size(value: Any, flat: bool) -> int:
    """A number of bytes. The suffixed text serves both spellings."""
    allowed = "bytes, or with a suffix of 1024: k, M, G, T, P, E"
    if isinstance(value, str):
        number = _suffixed(value)
        if number is None:
            raise ConfigError(f"{shown(value)} is not a size", allowed=allowed)
    elif flat or not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"{shown(value)} is not a size", allowed=allowed)
    else:
        number = value
    if 0 <= number <= SIZE_MAX:
        return number
    raise ConfigError(f"{shown(value)} is out of range", allowed="0 to 2^64 - 1")


def _suffixed(value: str) -> int | None:
    match = _SIZE.fullmatch(value)
    if match is None:
        return None
    hexadecimal, whole, fraction, suffix = match.groups()
    if hexadecimal:
        return int(hexadecimal, 16)
    unit: int = 1024 ** SUFFIXES.index(suffix.upper() or "B")
    if not fraction:
        return int(whole) * unit
    if unit == 1:
        return None  # half a byte
    scale: int = 10 ** len(fraction)
    part: int = (int(fraction) * unit + scale // 2) // scale
    return int(whole) * unit + part


def descriptor(value: Any, _flat: bool) -> int:
    """The number of an inherited fd (O-13): digits in both spellings, since QEMU's JSON has it as text."""
    number = int(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else value
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= FD_MAX:
        return number
    raise ConfigError(f"{shown(value)} is not a file descriptor", allowed="the number of an fd that was inherited open")

"""MAC addresses: reading them as QEMU does (O-21), and defaults that differ from instance to instance.

Differs from QEMU (C-07, U-11): there every instance counts up from 52:54:00:12:34:56, so two guests on one segment
have the same address until somebody notices. Here the last three octets come from a hash of the machine, the
instance and the NIC's name: the same NIC keeps its address over restarts, two NICs of one instance never share one,
and two instances on one segment do with a chance of 1 in 2^24 for each pair of their NICs.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import attrs

__all__ = ["UNSET", "Mac", "default_macs", "machine_id"]

_OCTETS = re.compile(r"[0-9a-fA-F]{1,2}(?:[:-][0-9a-fA-F]{1,2}){5}")
_NUMBER = re.compile(r"(?i:0x)([0-9a-f]{1,8})|([0-9]{1,8})", re.IGNORECASE)

PREFIX = bytes((0x52, 0x54, 0x00))  # locally administered, and QEMU's own
TAIL_MAX = 0xFFFFFF


@attrs.frozen(order=True)
class Mac:
    """A unicast MAC address.

    Attributes:
        octets: Six octets, in the order of the wire.
    """

    allowed: ClassVar[str] = "six hex octets with ':' or '-' between them, the first one even"

    octets: bytes

    @classmethod
    def parse(cls, text: str) -> Mac:
        """Read six hex octets, or one number up to 0xFFFFFF that gives the last three (O-21).

        Differs from QEMU: it cuts an octet of three digits to 8 bits, here it is an error.

        Raises:
            ValueError: It is neither, or the address is multicast, which no NIC can have.
        """
        if _OCTETS.fullmatch(text):
            octets = bytes(int(octet, 16) for octet in re.split("[:-]", text))
        elif match := _NUMBER.fullmatch(text):
            number = int(match[1], 16) if match[1] else int(match[2])
            if number > TAIL_MAX:
                raise ValueError(f"{text!r} is more than the last three octets hold, 0xFFFFFF")
            octets = bytes(3) + number.to_bytes(3, "big")
        else:
            raise ValueError(f"{text!r} is not a MAC address")
        if octets[0] & 1:
            raise ValueError(f"{text!r} is a multicast address, which a NIC cannot have")
        return cls(octets)

    def __str__(self) -> str:
        return self.octets.hex(":")


UNSET = Mac(bytes(6))
"""Stands for an address until `default_macs` gives one."""


def default_macs(names: Iterable[str], *, machine: str, instance: str, used: Iterable[Mac] = ()) -> dict[str, Mac]:
    """Addresses for the NICs that were given none.

    Args:
        names: The NICs, by name.
        machine: What differs from machine to machine.
        instance: What differs from instance to instance on one machine.
        used: Addresses that were given; none of them is handed out.

    Returns:
        An address for each name, all different. A name's address depends on the others only where two would be equal.
    """
    taken = set(used)
    macs: dict[str, Mac] = {}
    for name in names:
        # 16 million tails and far fewer NICs: the loop ends after one round, very rarely two.
        for attempt in range(TAIL_MAX):
            seed = "\0".join((machine, instance, name, str(attempt))).encode(errors="surrogateescape")
            mac = Mac(PREFIX + hashlib.sha256(seed).digest()[:3])
            if mac not in taken:
                break
        taken.add(mac)
        macs[name] = mac
    return macs


def machine_id(paths: Iterable[str] = ("/etc/machine-id", "/var/lib/dbus/machine-id")) -> str:
    """What tells this machine from others: its machine-id(5), or its host name where it has none."""
    for path in paths:
        try:
            identity = Path(path).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if identity:
            return identity
    return platform.node()

"""Names of net clients: what an id may look like (O-01), and the names of those that have none (C-05)."""

from __future__ import annotations

import re
from collections.abc import Container

from etherloom.errors import ConfigError

__all__ = ["ID_ALLOWED", "check_id", "first_free"]

ID_ALLOWED = "letters, digits, '-', '.' and '_', a letter first"

_ID = re.compile(r"[A-Za-z][A-Za-z0-9\-._]*")


def check_id(name: object, *, origin: str) -> str:
    """A well-formed id, as it stands.

    Differs from QEMU: 7.2 takes any text for an id in its JSON form.

    Raises:
        ConfigError: It is not well-formed. Generated names with `#` cannot be typed, so they never collide with ids.
    """
    if isinstance(name, str) and _ID.fullmatch(name):
        return name
    raise ConfigError(f"{name!r} is not an id", origin=origin, key="id", allowed=ID_ALLOWED)


def first_free(pattern: str, number: int, taken: Container[str]) -> str:
    """`pattern` with the first number from `number` on whose name is not taken: `rtl8139.{}` gives `rtl8139.0`."""
    while (name := pattern.format(number)) in taken:
        number += 1
    return name

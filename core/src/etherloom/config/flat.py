"""QEMU's flat option syntax: `tap,id=a,ifname=tap0`.

Facts of the syntax, as QEMU 7.2 was seen to read it:

- The first word is the value of an implied key (`type`, for `-device` `driver`) unless it has a `=`.
- A comma in a value is written twice. In a key it cannot be written.
- `key` alone is `key=on`, and `nokey` alone is `key=off`, whatever the key: `node` alone means `de=off`.
- A comma at the end is nothing.
- A key may be repeated. Options that are lists take every value, others the last one (`etherloom.config.options`), and
  `id` alone the first one.
"""

from __future__ import annotations

from collections.abc import Iterable

from etherloom.errors import UsageError

__all__ = ["HELP_WORDS", "format_pairs", "grouped", "parse"]

Pairs = list[tuple[str, str]]

HELP_WORDS = ("help", "?")


def parse(text: str, implied: str) -> Pairs:
    """Split into pairs of key and value. Any text has a reading, so this raises nothing.

    Args:
        text: The argument.
        implied: The key of a first word without `=`.
    """
    pairs: Pairs = []
    at = 0
    while at < len(text):
        key, at, assigned = _key(text, at)
        if assigned:
            value, at = _value(text, at)
        elif not pairs:
            key, (value, at) = implied, _value(text, at - len(key))
        elif key.startswith("no"):
            key, value = key[2:], "off"
        else:
            value = "on"
        pairs.append((key, value))
        at += 1  # the comma
    return pairs


def _key(text: str, start: int) -> tuple[str, int, bool]:
    """The word at `start`, the place after it, and whether that is the one after a `=`."""
    ends = [end for end in (text.find("=", start), text.find(",", start)) if end >= 0]
    end = min(ends, default=len(text))
    assigned = text.startswith("=", end)
    return text[start:end], end + assigned, assigned


def _value(text: str, start: int) -> tuple[str, int]:
    """The value at `start` with its commas single, and the place of the comma that ends it."""
    parts: list[str] = []
    while True:
        end = text.find(",", start)
        if end < 0:
            end = len(text)
        parts.append(text[start:end])
        if not text.startswith(",,", end):
            return ",".join(parts), end
        start = end + 2


def format_pairs(pairs: Iterable[tuple[str, str]], implied: str) -> str:
    """Write pairs so that `parse` gives the same ones back.

    Raises:
        UsageError: A key has a comma or a `=`, which the syntax cannot say.
    """
    words: list[str] = []
    for key, value in pairs:
        if "," in key or "=" in key:
            raise UsageError(f"an option cannot be called {key!r}")
        escaped = value.replace(",", ",,")
        bare = not words and key == implied and value and "=" not in value
        words.append(escaped if bare else f"{key}={escaped}")
    return ",".join(words)


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """All values of each key, in order."""
    groups: dict[str, list[str]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups

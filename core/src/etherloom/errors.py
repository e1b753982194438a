"""Every error Etherloom raises on purpose, by whose fault it is.

`EAGAIN` and `ENOBUFS` are flow control and never an error. What a guest or a remote peer does wrong is counted
or answered by the device, so `PeerError` never leaves the client that met it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "ConfigError",
    "ContractMismatch",
    "EtherloomError",
    "HostError",
    "PeerError",
    "PluginConflict",
    "PluginError",
    "PluginImportError",
    "PluginNotFound",
    "UsageError",
    "nearest",
]


class EtherloomError(Exception):
    """Base of all errors below; its text is one line a user can act on."""


class ConfigError(EtherloomError):
    """A file or an argument asks for what cannot be.

    Args:
        problem: What is wrong, with the offending value.
        origin: The file and table, or the argument as typed; empty where the caller adds it (see `at`).
        key: The option, or empty.
        allowed: What would have been right, or empty.
    """

    def __init__(self, problem: str, *, origin: str = "", key: str = "", allowed: str = "") -> None:
        super().__init__(problem)
        self.problem, self.origin, self.key, self.allowed = problem, origin, key, allowed

    def at(self, origin: str) -> ConfigError:
        """The same error with its origin filled in, unless it has one already."""
        return ConfigError(self.problem, origin=self.origin or origin, key=self.key, allowed=self.allowed)

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.origin, self.key) if part)
        text = f"{where}: {self.problem}" if where else self.problem
        return f"{text} (allowed: {self.allowed})" if self.allowed else text


class PluginError(EtherloomError):
    """Something about an installed, or missing, plugin.

    Args:
        problem: One line, naming the kind.
        kind: The name a config uses.
        distribution: The distribution that owns the kind; empty if none does.
        version: Its version; empty if unknown.
    """

    def __init__(self, problem: str, *, kind: str, distribution: str = "", version: str = "") -> None:
        owner = f" [{distribution} {version}]".replace(" ]", "]") if distribution else ""
        super().__init__(problem + owner)
        self.kind, self.distribution, self.version = kind, distribution, version


class PluginNotFound(PluginError):
    """No installed distribution owns the kind (or it is blocked)."""


class PluginConflict(PluginError):
    """Two distributions own one kind."""


class PluginImportError(PluginError):
    """The plugin is installed and its import, or its `init`, failed; chained from the cause."""


class ContractMismatch(PluginError):
    """The plugin was written for another generation of the contract."""


class HostError(EtherloomError):
    """The operating system refused.

    Args:
        action: What was tried, as a verb phrase: "open /dev/net/tun".
        errno: The system's error number; 0 where the refusal has none.
        device: The interface, file or address concerned.
        remedy: The privilege, flag or package that lacks, as an imperative; may be empty.
    """

    def __init__(self, action: str, errno: int = 0, *, device: str = "", remedy: str = "") -> None:
        cause = f": {os.strerror(errno)}" if errno else ""
        target = f" ({device})" if device else ""
        super().__init__(f"cannot {action}{target}{cause}" + (f"; {remedy}" if remedy else ""))
        self.action, self.errno, self.device, self.remedy = action, errno, device, remedy


class UsageError(EtherloomError):
    """The embedding program, or a plugin, broke the contract."""


class PeerError(EtherloomError):
    """A guest or a remote misbehaved: counted, logged at a limited rate, never fatal."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """A hint for a misspelt name: `did you mean 'tap'?`, or the empty string."""
    close = get_close_matches(word, list(choices), n=2)
    return f"did you mean {' or '.join(repr(name) for name in close)}?" if close else ""

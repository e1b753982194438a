"""A network as a TOML file.

::

    [network]
    name = "lab"        # default MAC addresses derive from it
    carrier = true      # NICs see their backend's carrier

    [netdev.uplink]
    type = "tap"
    ifname = "tap0"

    [netdev.p0]
    type = "hubport"
    hubid = 0
    netdev = "uplink"

    [nic.n0]
    model = "rtl8139"
    netdev = "other"

A table's name is the client's id, its other keys are the kind's options in the typed spelling
(`etherloom.config.options`). Order means nothing: a `netdev` may stand below who asks for it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from etherloom.bundled import HUB_PORT
from etherloom.config.names import check_id
from etherloom.config.network import Builder
from etherloom.config.options import fill, option
from etherloom.config.scalars import shown
from etherloom.errors import ConfigError, nearest

if TYPE_CHECKING:
    from etherloom.config.model import NetworkConfig
    from etherloom.plugins.registry import Registry

__all__ = ["NetworkTable", "load", "parse"]

# By table name: where its rows are, and the key that names the kind.
CLIENT_TABLES = {"netdev": ("net_client", "type"), "nic": ("nic_model", "model")}
OTHER_KEYS = {"type": "model", "model": "type"}
ALLOWED_TABLES = "[network], [netdev.ID], [nic.ID]"

REMOVED = {
    "vlan": f'[netdev.ID] with type = "{HUB_PORT}", hubid = N and netdev = "BACKEND", one for each',
    "name": "the id is the table's name, [netdev.ID]",
}
"""See `Builder`."""


@attrs.frozen(kw_only=True)
class NetworkTable:
    """The keys of `[network]`."""

    name: str = option(default="", help="the instance's name, from which default MAC addresses derive")
    carrier: bool = option(default=False, help="a NIC's link follows its backend's far end")


def load(path: Path, registry: Registry) -> NetworkConfig:
    """Read a file; see `parse`.

    Raises:
        ConfigError: Also when the file cannot be read or is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", origin=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"byte {error.start} is not UTF-8", origin=str(path), allowed="text in UTF-8") from error
    return parse(text, registry, file=str(path))


def parse(text: str, registry: Registry, *, file: str) -> NetworkConfig:
    """A network from the text of a TOML file.

    Args:
        text: The document.
        registry: Imports the kinds that are named.
        file: For messages.

    Raises:
        ConfigError: The first mistake: syntax with its line and column, everything else with its table and key.
        PluginError: A kind is installed and cannot be used.
    """
    document = _document(text, file)
    builder = Builder(registry, REMOVED)
    network: Mapping[str, Any] = {}
    for name, content in document.items():
        origin = f"{file}: [{name}]"
        if name != "network" and name not in CLIENT_TABLES:
            hint = nearest(name, ["network", *CLIENT_TABLES])
            raise ConfigError("unknown table" + (f"; {hint}" if hint else ""), origin=origin, allowed=ALLOWED_TABLES)
        tables = _table(content, origin)
        if name == "network":
            network = tables
            continue
        for ident, options in tables.items():
            _add(builder, name, ident, options, file)
    settings = fill(NetworkTable, network, what="[network]", origin=f"{file}: [network]", flat=False)
    return builder.finish(settings.name, settings.carrier)


def _add(builder: Builder, name: str, ident: str, content: object, file: str) -> None:
    origin = f"{file}: [{name}.{ident}]"
    table, kind_key = CLIENT_TABLES[name]
    raw = dict(_table(content, origin))
    check_id(ident, origin=origin)
    kind = raw.pop(kind_key, None)
    if not isinstance(kind, str):
        problem = "is missing" if kind is None else f"{shown(kind)} is not text"
        installed = ", ".join(builder.registry.kinds(table)) or "none is installed"
        other = OTHER_KEYS[kind_key]
        if kind is None and other in raw:
            raise ConfigError(f"did you mean {kind_key!r}?", origin=origin, key=other, allowed=installed)
        raise ConfigError(problem, origin=origin, key=kind_key, allowed=installed)
    builder.add(kind, ident, raw, origin=origin, flat=False, table=table)


def _table(content: object, origin: str) -> Mapping[str, Any]:
    if isinstance(content, dict):
        return content
    raise ConfigError(f"{shown(content)} is not a table", origin=origin, allowed=ALLOWED_TABLES)


def _document(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The position is in the message only, until Python 3.14 has attributes for it.
        problem = re.sub(r" \(at .*\)$", "", str(error))
        match = re.search(r"\(at line (\d+), column (\d+)\)$", str(error))
        last = text.split("\n")
        line, column = (int(match[1]), int(match[2])) if match else (len(last), len(last[-1]) + 1)
        raise ConfigError(f"{problem}, at line {line}, column {column}", origin=file, allowed="TOML") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, a thousand nested brackets
        raise ConfigError(f"not readable as TOML: {error}", origin=file) from error

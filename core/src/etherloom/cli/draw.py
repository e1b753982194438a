"""A configuration as a drawing in text: its hubs with what hangs on their ports, its pairs, and who has no peer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from etherloom.config.topology import Topology, hub_of, survey

if TYPE_CHECKING:
    from etherloom.config.model import ClientConfig, NetworkConfig

__all__ = ["draw", "plain"]

# For terminals and files that have no line drawing characters.
ASCII = str.maketrans({"├": "|", "└": "`", "│": "|", "─": "-", "═": "="})


def draw(config: NetworkConfig) -> str:
    """The network that `config` describes.

    Raises:
        ConfigError: It cannot be wired.
    """
    topology = survey(config)
    blocks = [_hub(topology, hubid, ports) for hubid, ports in sorted(topology.hubs.items())]
    blocks.append(list(_pairs(topology)))
    blocks.append(list(_lonely(topology)))
    return "\n\n".join("\n".join(block) for block in blocks if block)


def plain(drawing: str, encoding: str) -> str:
    """The drawing in what `encoding` can say."""
    try:
        drawing.encode(encoding)
    except UnicodeEncodeError:
        return drawing.translate(ASCII)
    return drawing


def _hub(topology: Topology, hubid: int, ports: tuple[str, ...]) -> list[str]:
    width = max(map(len, ports))
    lines = [f"hub {hubid}"]
    for port in ports:
        peer = topology.peers.get(port)
        if peer is None:
            cable = f"{port.ljust(width)}    (waits for a peer)"
        else:
            other = topology.clients[peer]
            patched = hub_of(other)
            if patched is None:
                cable = f"{port} ─{'─' * (width - len(port))}─ {_described(other)}"
            else:
                cable = f"{port} ═{'═' * (width - len(port))}═ {peer} of hub {patched}"
        lines.append(f"{'└' if port == ports[-1] else '├'}─ {cable}")
    return lines


def _pairs(topology: Topology) -> Iterator[str]:
    """Two clients each, without a hub between them; who asked for whom comes second."""
    ends = [
        (client.netdev, client)
        for client in topology.clients.values()
        if client.netdev is not None and hub_of(client) is None and hub_of(topology.clients[client.netdev]) is None
    ]
    lefts = [_described(topology.clients[netdev]) for netdev, _ in ends]
    width = max(map(len, lefts), default=0)
    for left, (_, client) in zip(lefts, ends, strict=True):
        yield f"{left} ─{'─' * (width - len(left))}─ {_described(client)}"


def _lonely(topology: Topology) -> Iterator[str]:
    for client in topology.clients.values():
        if client.name not in topology.peers and hub_of(client) is None:
            yield f"{_described(client)}  (has no peer: its frames are dropped)"


def _described(client: ClientConfig) -> str:
    """Name, kind, and the options that are not as they are by default."""
    return " ".join([client.name, client.kind, *_settings(client)])


def _settings(client: ClientConfig) -> Iterator[str]:
    options = client.options
    if not attrs.has(type(options)):
        return
    for field in attrs.fields(type(options)):
        value = getattr(options, field.name)
        if field.name not in ("netdev", "hubid") and value not in (field.default, None, (), []):
            yield f"{field.name.rstrip('_').replace('_', '-')}={_spelt(value)}"


def _spelt(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return ",".join(map(_spelt, value))
    return str(getattr(value, "value", value))

"""The network as text: what `etherloom check` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from etherloom import ConfigError
from etherloom.cli.draw import draw, plain
from etherloom.config.model import ClientConfig, NetworkConfig


@attrs.frozen(kw_only=True)
class Options:
    ifname: str | None = None
    vnet_hdr: bool = False
    sndbuf: int = 0
    path: Path | None = None
    param: list[str] = attrs.field(factory=list)
    netdev: str | None = None


@attrs.frozen(kw_only=True)
class PortOptions:
    hubid: int
    netdev: str | None = None


def client(name: str, netdev: str | None = None, *, kind: str = "tap", **options: Any) -> ClientConfig:
    return ClientConfig(name, kind, Options(netdev=netdev, **options), netdev)


def port(name: str, hubid: int, netdev: str | None = None) -> ClientConfig:
    return ClientConfig(name, "hubport", PortOptions(hubid=hubid, netdev=netdev), netdev)


def drawn(*clients: ClientConfig) -> str:
    return "\n" + draw(NetworkConfig(clients=clients)) + "\n"


def test_a_hub_is_a_tree_of_its_ports_and_their_peers() -> None:
    expected = """
hub 0
├─ uplink ── lan tap ifname=tap0
├─ p1 ────── guest tap ifname=tap1
└─ spare     (waits for a peer)
"""
    lan, guest = client("lan", ifname="tap0"), client("guest", ifname="tap1")
    assert expected == drawn(lan, port("uplink", 0, "lan"), guest, port("p1", 0, "guest"), port("spare", 0))


def test_hubs_stand_by_number_and_patch_cables_at_both_ends() -> None:
    expected = """
hub 1
└─ p ══ q of hub 7

hub 7
└─ q ══ p of hub 1
"""
    assert expected == drawn(port("q", 7), port("p", 1, "q"))


def test_pairs_and_who_has_no_peer_follow_the_hubs() -> None:
    expected = """
a tap ─────── nic0 rtl8139
uplink tap ── nic1 rtl8139

c tap  (has no peer: its frames are dropped)
"""
    nics = client("nic0", "a", kind="rtl8139"), client("nic1", "uplink", kind="rtl8139")
    assert expected == drawn(client("a"), client("uplink"), *nics, client("c"))


def test_options_are_shown_as_typed_and_only_where_they_are_not_the_default() -> None:
    options: dict[str, Any] = {"vnet_hdr": True, "sndbuf": 65536, "path": Path("/run/x"), "param": ["a", "b"]}
    expected = "\na tap vnet-hdr=on sndbuf=65536 path=/run/x param=a,b  (has no peer: its frames are dropped)\n"
    assert expected == drawn(client("a", **options))


def test_an_empty_network_is_an_empty_drawing() -> None:
    assert "" == draw(NetworkConfig())


def test_what_cannot_be_wired_cannot_be_drawn() -> None:
    with pytest.raises(ConfigError, match="no net client 'b'"):
        draw(NetworkConfig(clients=(client("a", "b"),)))


def test_a_stream_without_line_characters_gets_ascii() -> None:
    drawing = draw(NetworkConfig(clients=(client("a"), port("p", 0, "a"), port("q", 0))))
    assert "hub 0\n|- p -- a tap\n`- q    (waits for a peer)" == plain(drawing, "latin-1")
    assert drawing == plain(drawing, "utf-8")

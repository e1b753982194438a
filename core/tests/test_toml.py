"""The TOML spelling of a network, and the checks that both spellings share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etherloom.config.mac import PREFIX, Mac
from etherloom.config.model import ClientConfig, NetworkConfig
from etherloom.config.options import option
from etherloom.config.toml import load, parse
from etherloom.errors import ConfigError
from etherloom.kinds import NicModelKind
from etherloom.plugins.registry import Registry


@attrs.frozen(kw_only=True)
class Wire:
    """A backend."""

    ifname: str = option(default="", help="")
    vhost: bool = option(default=False, help="")


@attrs.frozen(kw_only=True)
class Port:
    """A hub port."""

    hubid: int = option(help="")
    netdev: str | None = option(default=None, help="")


@attrs.frozen(kw_only=True)
class Card:
    """A NIC model."""

    mac: Mac = option(help="")
    netdev: str | None = option(default=None, help="")


def row(kind: str, options: type[Any]) -> NicModelKind:
    def init(*_: object) -> Any:
        raise AssertionError("a parser makes no client")

    return NicModelKind(kind=kind, options=options, init=init, summary=f"a {kind}")


REGISTRY = Registry(rows=[row("wire", Wire), row("hubport", Port)], nic_models=[row("card", Card)])


def lab(text: str) -> NetworkConfig:
    return parse(text, REGISTRY, file="lab.toml")


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        lab(text)
    return str(caught.value)


def test_a_file_names_a_network() -> None:
    expected = NetworkConfig(
        "lab",
        (
            ClientConfig("w", "wire", Wire(ifname="tap0", vhost=True)),
            ClientConfig("p", "hubport", Port(hubid=3, netdev="w"), "w"),
            ClientConfig("q", "hubport", Port(hubid=3)),
            ClientConfig(
                "n", "card", Card(mac=Mac.parse("52:54:00:00:00:01"), netdev="q"), "q", "nic_model"
            ),
        ),
        carrier=True,
    )  # fmt: skip
    made = lab("""
        [network]
        name = "lab"
        carrier = true
        [netdev.w]
        type = "wire"
        ifname = "tap0"
        vhost = true
        [netdev.p]
        type = "hubport"
        hubid = 3
        netdev = "w"
        [netdev.q]
        type = "hubport"
        hubid = 3
        [nic.n]
        model = "card"
        mac = "52:54:00:00:00:01"
        netdev = "q"
    """)
    assert expected == made
    assert () == made.warnings


def test_an_empty_file_is_an_empty_network() -> None:
    assert NetworkConfig() == lab("")


def test_a_netdev_may_stand_below_who_asks_for_it() -> None:
    made = lab("""
        netdev.p = { type = "hubport", hubid = 0, netdev = "w" }
        netdev.q = { type = "hubport", hubid = 1 }
        netdev.w = { type = "wire" }
    """)
    assert ["w", "p", "q"] == [client.name for client in made.clients]


def test_a_client_knows_the_table_it_comes_from() -> None:
    assert "lab.toml: [netdev.w]" == lab('netdev.w.type = "wire"').clients[0].origin


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[nets]",
            "lab.toml: [nets]: unknown table; did you mean 'netdev'? (allowed: [network], [netdev.ID], [nic.ID])",
        ),
        ("netdev = 3", "lab.toml: [netdev]: 3 is not a table (allowed: [network], [netdev.ID], [nic.ID])"),
        ("[[netdev]]", "lab.toml: [netdev]: [{}] is not a table (allowed: [network], [netdev.ID], [nic.ID])"),
        ("[netdev]\nw = 3", "lab.toml: [netdev.w]: 3 is not a table (allowed: [network], [netdev.ID], [nic.ID])"),
        ("[netdev.w]", "lab.toml: [netdev.w]: type: is missing (allowed: hubport, wire)"),
        ('[nic.n]\ntype = "card"', "lab.toml: [nic.n]: type: did you mean 'model'? (allowed: card)"),
        ('[netdev.w]\nmodel = "wire"', "lab.toml: [netdev.w]: model: did you mean 'type'? (allowed: hubport, wire)"),
        (
            '[netdev.w]\ntype = "wire"\nvlan = 1',
            "lab.toml: [netdev.w]: vlan: QEMU has no vlan= since 3.0: net clients share a segment through a hub"
            ' (allowed: [netdev.ID] with type = "hubport", hubid = N and netdev = "BACKEND", one for each)',
        ),
        ("[nic.n]", "lab.toml: [nic.n]: model: is missing (allowed: card)"),
        ("netdev.w.type = 3", "lab.toml: [netdev.w]: type: 3 is not text (allowed: hubport, wire)"),
        (
            '[netdev."1w"]\ntype = "wire"',
            "lab.toml: [netdev.1w]: id: '1w' is not an id (allowed: letters, digits, '-', '.' and '_', a letter first)",
        ),
        (
            '[netdev.w]\ntype = "wire"\nifnam = 1',
            "lab.toml: [netdev.w]: ifnam: kind 'wire' has no such option; did you mean 'ifname'?"
            " (allowed: ifname, vhost)",
        ),
        (
            '[netdev.w]\ntype = "wire"\nvhost = "on"',
            "lab.toml: [netdev.w]: vhost: 'on' is not a boolean (allowed: true or false, without quotes)",
        ),
        ('netdev.p.type = "hubport"', "lab.toml: [netdev.p]: hubid: kind 'hubport' needs it (allowed: int)"),
        (
            '[network]\nnam = "x"',
            "lab.toml: [network]: nam: [network] has no such option; did you mean 'name'? (allowed: name, carrier)",
        ),
        (
            '[netdev.x]\ntype = "wire"\n[nic.x]\nmodel = "card"',
            "lab.toml: [nic.x]: id: 'x' is taken by lab.toml: [netdev.x] (allowed: an id of its own)",
        ),
    ],
)
def test_a_mistake_names_file_table_and_key(text: str, message: str) -> None:
    """O-01, O-06, C-06."""
    assert message == refusal(text)


def test_an_unknown_kind_names_the_table_that_asks() -> None:
    message = refusal('[netdev.w]\ntype = "wir"')
    assert message.startswith("lab.toml: [netdev.w]: ")
    assert "'wir'" in message


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("[network]\nname = ", "line 2, column 8"),
        ("[network]\nname", "line 2, column 5"),
        ("[network]\n[network]\n", "line 2, column 9"),
    ],
)
def test_a_syntax_error_names_file_line_and_column(text: str, position: str) -> None:
    message = refusal(text)
    assert message.startswith("lab.toml: ")
    assert position in message


def test_a_file_that_is_not_there_is_a_mistake_in_the_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load(tmp_path / "none.toml", REGISTRY)


def test_a_file_that_is_not_utf8_is_a_mistake_in_the_config(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_bytes(b"# \xff")
    with pytest.raises(ConfigError, match=r"lab\.toml: byte 2 is not UTF-8"):
        load(tmp_path / "lab.toml", REGISTRY)


# What both spellings share ----------------------------------------------------------------------------------------


def test_an_unknown_peer_names_the_nearest() -> None:
    """O-141."""
    message = refusal("""
        netdev.wire0 = { type = "wire" }
        netdev.p = { type = "hubport", hubid = 0, netdev = "wire1" }
    """)
    assert message.startswith("lab.toml: [netdev.p]: netdev: ")
    assert "'wire0'" in message


def test_a_busy_peer_is_refused() -> None:
    """C-03; for a hub port QEMU aborts (O-141)."""
    message = refusal("""
        netdev.w = { type = "wire" }
        netdev.p = { type = "hubport", hubid = 0, netdev = "w" }
        nic.n = { model = "card", netdev = "w" }
    """)
    assert message.startswith("lab.toml: [nic.n]: netdev: ")
    assert "'p'" in message


@pytest.mark.parametrize(("a", "b", "c"), [("b", "a", "b"), ("b", "c", "a")])
def test_clients_that_wait_for_each_other_are_refused(a: str, b: str, c: str) -> None:
    message = refusal(f"""
        netdev.a = {{ type = "hubport", hubid = 0, netdev = "{a}" }}
        netdev.b = {{ type = "hubport", hubid = 1, netdev = "{b}" }}
        netdev.c = {{ type = "hubport", hubid = 2, netdev = "{c}" }}
    """)
    assert "each waits for the next: a - b" in message


def test_a_ring_of_hubs_is_refused_without_touching_the_host() -> None:
    """C-66."""
    message = refusal("""
        netdev.a0 = { type = "hubport", hubid = 0 }
        netdev.b0 = { type = "hubport", hubid = 1, netdev = "a0" }
        netdev.a1 = { type = "hubport", hubid = 0 }
        netdev.b1 = { type = "hubport", hubid = 1, netdev = "a1" }
    """)
    assert message.startswith("lab.toml: [netdev.b1]: netdev: ")
    assert "ring" in message


def test_loose_ends_are_warned_of() -> None:
    """C-09."""
    made = lab("""
        netdev.v = { type = "wire" }
        netdev.w = { type = "wire" }
        netdev.p = { type = "hubport", hubid = 0, netdev = "w" }
        netdev.q = { type = "hubport", hubid = 0 }
    """)
    assert (
        "lab.toml: [netdev.v]: net client 'v' has no peer",
        "lab.toml: [netdev.q]: hub port 'q' has no peer",
        "hub 0 has one connected port, 'p': its frames go nowhere",
    ) == made.warnings


def macs(made: NetworkConfig) -> dict[str, Mac]:
    return {client.name: client.options.mac for client in made.clients if client.table == "nic_model"}


def test_a_nic_without_address_gets_one_that_it_keeps() -> None:
    """C-07: the same file means the same network, so applying it again changes nothing."""
    text = '[network]\nname = "lab"\n[nic.n]\nmodel = "card"'
    assert lab(text) == lab(text)
    assert PREFIX == macs(lab(text))["n"].octets[:3]


def test_a_model_whose_mac_is_optional_gets_an_address_too() -> None:
    """C-07."""

    @attrs.frozen(kw_only=True)
    class Optional:
        mac: Mac | None = option(default=None, help="")

    registry = Registry(nic_models=[row("optional", Optional)])
    assert PREFIX == macs(parse('nic.n.model = "optional"', registry, file="lab.toml"))["n"].octets[:3]


def test_default_addresses_differ_per_instance() -> None:
    """U-11."""
    text = '[network]\nname = "{}"\n[nic.n]\nmodel = "card"'
    assert macs(lab(text.format("one"))) != macs(lab(text.format("two")))


def test_a_nameless_instance_is_told_by_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """U-11."""
    mine = macs(lab('nic.n.model = "card"'))
    monkeypatch.setattr("etherloom.config.network.Mark.mine", lambda: "another process")
    assert mine != macs(lab('nic.n.model = "card"'))


def test_a_given_address_is_never_handed_out_again() -> None:
    """C-07."""
    text = '[network]\nname = "lab"\n[nic.n]\nmodel = "card"\n'
    taken = macs(lab(text))["n"]
    made = macs(lab(text + f'[nic.m]\nmodel = "card"\nmac = "{taken}"'))
    assert taken == made["m"]
    assert taken != made["n"]


lines = st.one_of(
    st.sampled_from(
        ["[network]", "[netdev.a]", "[netdev.b]", "[nic.n]", 'type = "wire"', 'type = "hubport"', 'model = "card"']
    ),
    st.sampled_from(["hubid = 0", "hubid = true", 'netdev = "a"', 'netdev = "b"', 'mac = "zz"', 'name = "x"']),
    st.text(max_size=20),
)


@given(st.lists(lines, max_size=12).map("\n".join))
def test_any_text_is_a_network_or_one_mistake(text: str) -> None:
    try:
        made = lab(text)
    except ConfigError as error:
        made = NetworkConfig()
        assert str(error).startswith("lab.toml: ")  # noqa: PT017 - most texts are refused, and none must be
    assert len({client.name for client in made.clients}) == len(made.clients)


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "1" * 5000])
def test_a_document_beyond_pythons_limits_is_one_mistake(text: str) -> None:
    assert refusal(text).startswith("lab.toml: ")

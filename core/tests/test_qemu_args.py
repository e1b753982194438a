"""QEMU's own arguments: O-01 to O-26, C-05."""

from __future__ import annotations

import shlex
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etherloom.config.mac import Mac
from etherloom.config.model import ClientConfig, NetworkConfig
from etherloom.config.names import ID_ALLOWED
from etherloom.config.options import Fd, option
from etherloom.config.qemu import HelpRequested, parse
from etherloom.errors import ConfigError
from etherloom.kinds import NicModelKind
from etherloom.plugins.registry import Registry


@attrs.frozen(kw_only=True)
class Tap:
    """A backend."""

    ifname: str = option(default="", help="interface")
    fd: Fd | None = option(default=None, help="descriptor")
    params: tuple[str, ...] = option(default=(), help="a list")


@attrs.frozen(kw_only=True)
class Port:
    """A hub port."""

    hubid: int = option(minimum=-(2**31), maximum=2**31 - 1, help="number")
    netdev: str | None = option(default=None, help="backend")


@attrs.frozen(kw_only=True)
class Card:
    """A NIC model."""

    mac: Mac = option(default=Mac.parse("52:54:00:00:00:99"), help="address")  # so that no test depends on defaults
    netdev: str | None = option(default=None, help="backend")
    addr: str = option(default="", help="slot")
    bus: str = option(default="", help="bus")


def row(kind: str, options: type[Any]) -> NicModelKind:
    def init(*_: object) -> Any:
        raise AssertionError("a parser makes no client")

    return NicModelKind(kind=kind, options=options, init=init, summary=f"a {kind}")


REGISTRY = Registry(
    rows=[row("tap", Tap), row("hubport", Port)],
    nic_models=[row("rtl8139", Card), row("e1000", Card)],
)


def network(line: str) -> NetworkConfig:
    return parse(shlex.split(line), REGISTRY)


def clients(line: str) -> tuple[ClientConfig, ...]:
    return network(line).clients


def backend(name: str, **options: Any) -> ClientConfig:
    return ClientConfig(name, "tap", Tap(**options))


def port(name: str, hubid: int, netdev: str | None = None) -> ClientConfig:
    return ClientConfig(name, "hubport", Port(hubid=hubid, netdev=netdev), netdev)


def nic(name: str, netdev: str | None = None, model: str = "rtl8139", **options: Any) -> ClientConfig:
    return ClientConfig(name, model, Card(netdev=netdev, **options), netdev, "nic_model")


def refusal(line: str) -> str:
    with pytest.raises(ConfigError) as caught:
        network(line)
    return str(caught.value)


def help_text(line: str) -> str:
    with pytest.raises(HelpRequested) as caught:
        network(line)
    return caught.value.text


# -netdev ----------------------------------------------------------------------------------------------------------


def test_netdev_makes_a_backend() -> None:
    """O-01."""
    assert (backend("a", ifname="tap0"),) == clients("-netdev tap,id=a,ifname=tap0")


def test_netdev_may_come_as_json() -> None:
    """O-02, O-07, O-13."""
    line = """-netdev '{"type": "tap", "id": "a", "fd": "3", "params": [{"str": "x"}, {"str": "y"}]}'"""
    assert (backend("a", fd=Fd(3), params=("x", "y")),) == clients(line)


def test_a_repeated_key_is_a_list_where_the_option_is_one() -> None:
    """O-07."""
    assert (backend("a", ifname="v", params=("x", "y")),) == clients(
        "-netdev tap,id=a,params=x,ifname=u,params=y,ifname=v"
    )


def test_of_two_ids_the_first_counts() -> None:
    """As observed, other than for all other keys."""
    assert (backend("a"),) == clients("-netdev tap,id=a,id=1")


def test_one_dash_and_two_are_the_same() -> None:
    assert clients("-netdev tap,id=a") == clients("--netdev tap,id=a")


def test_a_netdev_may_come_after_who_asks_for_it() -> None:
    """Differs from QEMU, which does not find it."""
    assert (backend("t"), port("p", 0, "t")) == clients("-netdev hubport,id=p,hubid=0,netdev=t -netdev tap,id=t")


def test_json_comes_before_flat_before_nic_before_net_before_device() -> None:
    """O-14."""
    made = clients(
        """-device e1000,id=d -net tap,id=n -nic tap,id=m -netdev tap,id=b -netdev '{"type": "tap", "id": "a"}'"""
    )
    assert ["a", "b", "m", "rtl8139.0", "n", "hub0port0", "d"] == [client.name for client in made]


# -nic -------------------------------------------------------------------------------------------------------------


def test_nic_makes_a_backend_and_its_nic() -> None:
    """O-09, O-22, C-05."""
    expected = (backend("#net000", ifname="tap0"), nic("e1000.0", "#net000", "e1000", mac=Mac.parse("52:54:0:0:0:1")))
    assert expected == clients("-nic tap,ifname=tap0,model=e1000,mac=52:54:00:00:00:01")


def test_the_id_in_nic_is_its_backends() -> None:
    """As observed on QEMU's pc machine."""
    assert (backend("a"), nic("rtl8139.0", "a")) == clients("-nic tap,id=a")


def test_nic_without_a_type_is_a_user_network() -> None:
    """O-09."""
    assert "'user'" in refusal("-nic model=e1000")


@pytest.mark.parametrize("line", ["-nic none", "-net none", "-nic none,id=x", "-net type=none", ""])
def test_none_makes_nothing(line: str) -> None:
    """O-10."""
    assert NetworkConfig() == network(line)


# -net -------------------------------------------------------------------------------------------------------------


def test_net_nic_and_net_tap_meet_on_hub_0() -> None:
    """O-20, C-05."""
    expected = (
        port("hub0port0", 0),
        nic("rtl8139.0", "hub0port0"),
        backend("#net000"),
        port("hub0port1", 0, "#net000"),
    )
    assert expected == clients("-net nic -net tap")


def test_a_generated_port_counts_the_ports_before_it() -> None:
    """C-05, as observed."""
    expected = (port("x", 0), port("hub0port1", 0), nic("rtl8139.0", "hub0port1"))
    assert expected == clients("-netdev hubport,id=x,hubid=0 -net nic")


def test_a_generated_port_goes_round_a_name_that_is_taken() -> None:
    expected = (port("hub0port1", 0), port("hub0port2", 0), nic("rtl8139.0", "hub0port2"))
    assert expected == clients("-netdev hubport,id=hub0port1,hubid=0 -net nic")


def test_net_nic_with_a_netdev_is_its_peer() -> None:
    """O-20."""
    assert (backend("a"), nic("rtl8139.0", "a")) == clients("-netdev tap,id=a -net nic,netdev=a")


def test_net_nic_passes_its_options_to_the_model() -> None:
    """O-21 to O-23; the id is none of the NIC's (C-05)."""
    expected = (
        port("hub0port0", 0),
        nic("e1000.0", "hub0port0", "e1000", mac=Mac(bytes((0, 0, 0, 16, 32, 48))), addr="5"),
    )
    assert expected == clients("-net nic,model=e1000,macaddr=0x102030,addr=5,id=x")


def test_an_empty_macaddr_is_none() -> None:
    """O-21, as observed."""
    assert clients("-net nic") == clients("-net nic,macaddr=")


def test_more_than_eight_nics_are_welcome() -> None:
    """Differs from QEMU (O-12, U-24)."""
    assert 18 == len(clients("-net nic " * 9))


# -device ----------------------------------------------------------------------------------------------------------


def test_device_makes_a_nic() -> None:
    """C-03."""
    expected = (backend("a"), nic("d", "a", mac=Mac.parse("52:54:0:0:0:1"), bus="g0", addr="04.0"))
    line = "-device rtl8139,netdev=a,mac=52:54:00:00:00:01,id=d,bus=g0,addr=04.0 -netdev tap,id=a"
    assert expected == clients(line)


def test_device_may_come_as_json() -> None:
    assert (nic("d", addr="4"),) == clients("""-device '{"driver": "rtl8139", "id": "d", "addr": "4"}'""")


def test_a_nic_is_called_after_its_model_counting_all_before_it() -> None:
    """C-05."""
    made = clients("-device rtl8139 -device rtl8139,id=q -device e1000 -device rtl8139")
    assert ["rtl8139.0", "q", "e1000.0", "rtl8139.2"] == [client.name for client in made]


# Around the network -----------------------------------------------------------------------------------------------


def test_what_concerns_qemu_alone_is_accepted() -> None:
    line = (
        "-machine none -M none -machine type=none -nodefaults --nographic -display none -monitor none -netdev tap,id=a"
    )
    assert clients("-netdev tap,id=a") == clients(line)


@pytest.mark.parametrize("line", ["-name lab", "-name guest=lab", "-name lab,process=x", "-name x -name lab"])
def test_the_name_is_the_instances(line: str) -> None:
    assert NetworkConfig("lab") == network(line)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-netdev hubport,hubid=0", f"id: is missing (allowed: {ID_ALLOWED})"),
        ("-netdev tap,id=1a", f"id: '1a' is not an id (allowed: {ID_ALLOWED})"),
        ("-netdev id=a", "type: is missing (allowed: hubport, tap)"),
        ("-netdev ,id=a", "type: '' is not a kind (allowed: hubport, tap)"),
        ("-netdev hubport,id=a", "hubid: kind 'hubport' needs it (allowed: int)"),
        (
            "-netdev tap,id=a,ifnam=x",
            "ifnam: kind 'tap' has no such option; did you mean 'ifname'? (allowed: ifname, fd, params)",
        ),
        ("-netdev", "its value is missing"),
        (
            "-net nic,mac=x",
            "mac: -net nic has no such option; did you mean 'macaddr'?"
            " (allowed: id, model, macaddr, addr, vectors, netdev)",
        ),
        ("-net none,x=1", "x: -net none has no such option (allowed: none at all)"),
        ("-net hubport,hubid=0", "a hub port cannot be on hub 0 through -net (allowed: -netdev or -nic)"),
        ("-nic ,id=a", "type: '' is not a kind (allowed: hubport, tap)"),
        ("-machine pc", "'pc' is QEMU's business (allowed: none)"),
        ("-name x,foo=1", "foo: -name has no such option (allowed: guest=NAME)"),
        ("-device id=a", "driver: is missing (allowed: e1000, rtl8139)"),
        ("""-netdev '{"id":"a"'""", "not readable as JSON: Expecting ',' delimiter: line 1 column 10 (char 9)"),
        ("""-netdev '{"id":"a","id":"b"}'""", "id: is given twice (allowed: each key once)"),
        ("""-netdev '{"type":"tap","id":NaN}'""", "not readable as JSON: NaN is no JSON"),
        ("""-netdev '{"type":"tap","id":["a"]}'""", f"id: ['a'] is not an id (allowed: {ID_ALLOWED})"),
        ("""-netdev '{"type":["tap"],"id":"a"}'""", "type: ['tap'] is not a kind (allowed: hubport, tap)"),
        (
            """-netdev '{"type":"hubport","id":"a","hubid":"3"}'""",
            "hubid: '3' is not a whole number (allowed: a number without quotes)",
        ),
    ],
)
def test_a_mistake_names_the_argument_and_the_key(line: str, message: str) -> None:
    """O-01, O-02, O-06."""
    assert f"{' '.join(shlex.split(line))}: {message}" == refusal(line)


def test_a_duplicate_id_names_both_arguments() -> None:
    """C-06."""
    expected = "-net tap,id=a: id: 'a' is taken by -netdev tap,id=a (allowed: an id of its own)"
    assert expected == refusal("-netdev tap,id=a -net tap,id=a")


@pytest.mark.parametrize("line", ["-drive x", "-netdevs tap,id=a", "-netdev=tap,id=a", "lab.img", "---netdev tap,id=a"])
def test_what_is_not_of_the_network_is_refused(line: str) -> None:
    message = refusal(line)
    assert message.startswith(f"{shlex.split(line)[0]!r} is nothing that etherloom takes from QEMU")
    assert "(allowed: -netdev, -nic, -net, -device, -name NAME; " in message


@pytest.mark.parametrize("line", ["-netdev tap,id=a,vlan=1", "-nic tap,vlan=1", "-net tap,vlan=1", "-net nic,vlan=1"])
def test_vlan_is_refused_with_the_way_it_is_done_now(line: str) -> None:
    """O-26, U-24."""
    message = refusal(line)
    assert message.startswith(f"{line}: vlan: QEMU has no vlan= since 3.0")
    assert "hubport,id=ID,hubid=N" in message


@pytest.mark.parametrize("line", ["-netdev tap,id=a,name=b", "-net nic,name=b"])
def test_name_is_refused_with_the_way_it_is_done_now(line: str) -> None:
    """O-25."""
    assert f"{line}: name: QEMU has no name= since 5.1 (allowed: id=)" == refusal(line)


@pytest.mark.parametrize("line", ["-netdev tpa,id=a", "-nic tpa", "-net tpa", "-device tpa", "-nic tap,model=tpa"])
def test_an_unknown_kind_names_the_argument(line: str) -> None:
    message = refusal(line)
    assert message.startswith(f"{line}: ")
    assert "'tpa'" in message


# Help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", ["-netdev help", "-netdev ?", "-net help", "-netdev help,id=a", "-netdev tap -netdev help"]
)
def test_help_lists_the_kinds(line: str) -> None:
    """O-08."""
    assert "Net client kinds:\n  hubport\n  tap" == help_text(line)


@pytest.mark.parametrize(
    "line", ["-nic help", "-nic model=help", "-net nic,model=help", "-net nic,help", "-device help", "-nic tap,model=?"]
)
def test_help_lists_the_nic_models(line: str) -> None:
    """O-11."""
    assert "NIC models:\n  e1000\n  rtl8139" == help_text(line)


@pytest.mark.parametrize("line", ["-netdev hubport,help", "-nic hubport,help", "-netdev hubport,id=a,help"])
def test_help_lists_the_options_of_a_kind(line: str) -> None:
    expected = "hubport: a hubport\n  hubid=<int>   number (required)\n  netdev=<str>  backend"
    assert expected == help_text(line)


def test_help_lists_the_options_of_a_nic_model() -> None:
    assert "  mac=<mac>     address (default: 52:54:00:00:00:99)" in help_text("-device rtl8139,help").splitlines()


def test_help_says_that_an_address_is_generated_for_a_model_without_one_of_its_own() -> None:
    """C-07."""

    @attrs.frozen(kw_only=True)
    class Bare:
        mac: Mac = option(help="address")

    with pytest.raises(HelpRequested) as caught:
        parse(["-device", "bare,help"], Registry(nic_models=[row("bare", Bare)]))
    assert "bare: a bare\n  mac=<mac>  address (default: generated)" == caught.value.text


def test_help_says_when_nothing_is_installed() -> None:
    with pytest.raises(HelpRequested) as caught:
        parse(["-device", "help"], Registry(rows=[]))
    assert "NIC models:\n  none is installed" == caught.value.text


# Anything ---------------------------------------------------------------------------------------------------------

words = st.sampled_from(
    [
        "tap",
        "hubport",
        "nic",
        "none",
        "id=a",
        "id=b",
        "hubid=0",
        "netdev=a",
        "netdev=b",
        "model=e1000",
        "mac=zz",
        "help",
    ]
)
values = st.one_of(
    st.lists(words, min_size=1, max_size=5).map(",".join),
    st.text(),
    st.sampled_from(['{"type":"tap","id":"a"}', "{", '{"a":' * 3000, "[]", '{"type":"tap","id":"c","fd":[{"str":1}]}']),
)
arguments = st.tuples(st.sampled_from(["-netdev", "-nic", "-net", "-device", "-name", "--netdev"]), values)


@given(st.lists(arguments, max_size=5))
def test_any_arguments_are_a_network_or_help_or_one_mistake(pairs: list[tuple[str, str]]) -> None:
    try:
        made = parse([word for pair in pairs for word in pair], REGISTRY)
    except (ConfigError, HelpRequested) as refused:
        made = NetworkConfig()
        assert str(refused)  # noqa: PT017 - most arguments are refused, and none must be
    assert len({client.name for client in made.clients}) == len(made.clients)

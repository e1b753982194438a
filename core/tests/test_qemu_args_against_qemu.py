"""The same arguments given to QEMU and to our parser: both accept and build the same hubs, or both refuse.

QEMU runs with `-machine none` and without a guest, so it makes no NIC and needs no privilege; what is compared is each
hub's ports with their backends, and the backends outside of hubs. Where we differ on purpose, the table says why.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import Any

import attrs
import pytest

from etherloom.config.mac import Mac
from etherloom.config.model import NetworkConfig
from etherloom.config.options import option
from etherloom.config.qemu import parse
from etherloom.config.topology import survey
from etherloom.errors import ConfigError
from etherloom.kinds import NicModelKind
from etherloom.plugins.registry import Registry

pytestmark = pytest.mark.qemu


@attrs.frozen(kw_only=True)
class Socket:
    """Of QEMU's `socket` what needs no privilege and no peer."""

    listen: str = option(help="")


@attrs.frozen(kw_only=True)
class Port:
    """QEMU's `hubport`."""

    hubid: int = option(minimum=-(2**31), maximum=2**31 - 1, help="")
    netdev: str | None = option(default=None, help="")


@attrs.frozen(kw_only=True)
class User:
    """Of QEMU's `user` one option of each type."""

    restrict: bool = option(default=False, help="")
    hostname: str = option(default="", help="")
    dnssearch: tuple[str, ...] = option(default=(), help="")


@attrs.frozen(kw_only=True)
class Card:
    """A NIC model."""

    mac: Mac | None = option(default=None, help="")
    netdev: str | None = option(default=None, help="")
    addr: str = option(default="", help="")
    vectors: int = option(default=0, minimum=0, maximum=0x7FFFFFFF, help="")  # O-24


def row(kind: str, options: type[Any]) -> NicModelKind:
    def init(*_: object) -> Any:
        raise AssertionError("a parser makes no client")

    return NicModelKind(kind=kind, options=options, init=init, summary=kind)


REGISTRY = Registry(
    rows=[row("socket", Socket), row("hubport", Port), row("user", User)], nic_models=[row("rtl8139", Card)]
)

Hubs = dict[int, dict[str, str | None]]


@attrs.frozen
class Shape:
    """What can be compared.

    Attributes:
        hubs: For each hub its ports, with the backend (or other port) that each one has.
        others: Backends outside of hubs.
    """

    hubs: Hubs
    others: tuple[str, ...]


def general(name: str) -> str:
    """QEMU ends a generated id in two random digits, so these are all alike here."""
    return re.sub(r"^#net\d+$", "#net", name)


def ours(line: str) -> Shape | None:
    """What our parser makes of a command line; None if it refuses."""
    try:
        config: NetworkConfig = parse(shlex.split(line), REGISTRY)
    except ConfigError:
        return None
    topology = survey(config)
    backends = {name for name, client in topology.clients.items() if client.table == "net_client"}
    others = set(backends)
    hubs: Hubs = {}
    for hubid, ports in topology.hubs.items():
        hubs[hubid] = {}
        for port in ports:
            peer = topology.peers.get(port)
            hubs[hubid][general(port)] = general(peer) if peer in backends else None
            others -= {port, peer}
    return Shape(hubs, tuple(sorted(general(name) for name in others)))


def qemus(line: str) -> Shape | None:
    """What QEMU makes of it; None if it refuses."""
    done = subprocess.run(
        [
            "qemu-system-x86_64",
            *shlex.split("-machine none -nodefaults -display none -S -monitor stdio"),
            *shlex.split(line),
        ],
        input="info network\nquit\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if done.returncode != 0:
        return None
    hubs: Hubs = {}
    others: list[str] = []
    # The monitor's prompts and echoes begin otherwise than any of these.
    for shown in done.stdout.replace("\r", "").splitlines():
        if match := re.fullmatch(r"hub (-?\d+)", shown):
            hubid = int(match[1])
            hubs[hubid] = {}
        elif match := re.match(r" \\ ([^:]+)(?:: ([^:]+): index=0)?", shown):
            hubs[hubid][general(match[1])] = general(match[2]) if match[2] else None
        elif match := re.match(r"([^:\s]+): index=0,", shown):
            others.append(general(match[1]))
    return Shape(hubs, tuple(sorted(others)))


SAME = [
    # flat syntax
    "-netdev hubport,id=a,hubid=0",
    "--netdev hubport,id=a,hubid=0",
    "-netdev hubid=0,type=hubport,id=a",
    "-netdev hubport,id=a,hubid=0,",
    "-netdev hubport,id=a,hubid=0,hubid=5",
    "-netdev hubport,type=socket,id=a,listen=:0",
    "-netdev hubport,id=a,id=b,hubid=0",
    "-netdev hubport,hubid=0,id",
    "-netdev user,id=u,restrict",
    "-netdev user,id=u,norestrict",
    "-netdev user,id=u,dnssearch=a,dnssearch=b,hostname=c,,d",
    # numbers
    "-netdev hubport,id=a,hubid=010",
    "-netdev hubport,id=a,hubid=0X1f",
    "-netdev hubport,id=a,hubid=-1",
    "-netdev hubport,id=a,hubid=-0x5",
    "-netdev hubport,id=a,hubid=+1",
    "-netdev hubport,id=a,hubid=' 1'",
    # wiring
    "-netdev hubport,id=b,hubid=2 -netdev hubport,id=a,hubid=1,netdev=b",
    """-netdev hubport,id=a,hubid=0,netdev=b -netdev '{"type":"hubport","id":"b","hubid":3}'""",
    "-netdev socket,id=s,listen=:0 -netdev hubport,id=a,hubid=1,netdev=s",
    "-netdev socket,id=s,listen=:0 -net nic,netdev=s",
    "-net nic",
    "-net nic -net nic",
    "-net nic -net socket,listen=:0",
    "-net socket,listen=:0,id=zz -net nic,id=foo",
    "-netdev hubport,id=x,hubid=0 -net nic",
    "-netdev hubport,id=hub0port0,hubid=0 -net nic",
    "-nic socket,listen=:0",
    "-nic socket,listen=:0,id=zz,mac=52:54:00:00:00:01",
    "-nic id=q",
    "-nic hubport,hubid=0",
    "-nic none -net none",
    "-nic none,id=x,foo=1",
    "-net type=none",
    "-net nic,macaddr=0x102030,addr=5,vectors=3",
    "-net nic,macaddr=52-54:00-0-0-1",
    "-net nic,macaddr=",
    "-M none -name foo -netdev user,id=u",
    "-name guest=foo,process=x -nographic -monitor none",
]

REFUSED = [
    "-netdev",
    "-netdev=hubport,id=a,hubid=0",
    "-netdev ''",
    "-netdev hubport,hubid=0",
    "-netdev hubport,id=,hubid=0",
    "-netdev hubport,id=1a,hubid=0",
    "-netdev hubport,id=a:b,hubid=0",
    "-netdev hubport,id=ä,hubid=0",
    "-netdev hubport,id=a",
    "-netdev hubport,id=a,Hubid=0",
    "-netdev HUBPORT,id=a,hubid=0",
    "-netdev hubport,,hubid=0,id=a",
    "-netdev ,hubport,hubid=0,id=a",
    "-netdev hubport,id=a,hubid=0,foo=1",
    "-netdev hubport,id=a,hubid=0,=x",
    "-netdev hubport,id=a,hubid=0,vlan=1",
    "-netdev hubport,id=a,hubid=0,name=x",
    "-netdev hubport,id=a,hubid=",
    "-netdev hubport,id=a,hubid",
    "-netdev hubport,id=a,hubid=1k",
    "-netdev hubport,id=a,hubid=09",
    "-netdev hubport,id=a,hubid='1 '",
    "-netdev hubport,id=a,hubid=2147483648",
    "-netdev hubport,id=a,hubid=99999999999999999999",
    "-netdev user,id=u,restrict=1",
    "-netdev user,id=u,restrict=ON",
    "-netdev hubport,id=a,hubid=1 -netdev hubport,id=a,hubid=1",
    "-netdev hubport,id=a,hubid=1 -nic hubport,id=a,hubid=1",
    "-netdev hubport,id=a,hubid=1,netdev=zz",
    "-netdev hubport,id=a,hubid=1,netdev=a",
    "-netdev hubport,id=a,hubid=1,netdev=",
    # QEMU does not refuse this one, it aborts by an assertion (O-141).
    "-netdev hubport,id=b,hubid=2 -netdev hubport,id=a,hubid=1,netdev=b -netdev hubport,id=c,hubid=1,netdev=b",
    """-netdev '{"type":"hubport","id":"a","hubid":"3"}'""",
    """-netdev '{"type":"hubport","id":"a","hubid":3.0}'""",
    """-netdev '{"type":"hubport","id":"a","hubid":true}'""",
    """-netdev '{"type":"hubport","id":"a","hubid":3,"hubid":4}'""",
    """-netdev '{"type":"hubport","id":"a","hubid":3'""",
    """-netdev '{"id":"a","hubid":3}'""",
    "-net hubport,hubid=0",
    "-net id=q",
    "-net nic,netdev=t",
    "-net nic,mac=52:54:00:00:00:01",
    "-net nic,macaddr=1:2:3:4:5:6",
    "-net nic,macaddr=0x1000000",
    "-net nic,macaddr=2:2:3:4:5",
    "-net nic,vectors=0x80000000",
    "-net nic,vlan=0",
    "-nic socket,listen=:0,macaddr=52:54:00:00:00:01",
    "-nic socket,listen=:0,mac=zz",
    "-nic socket,listen=:0,netdev=foo",
    "-nic ,id=a",
    "-nic none,id=1",
    "-name foo,bar=1",
    "-machine none,foo=1",
]

WE_REFUSE = {
    """-netdev '{"type":"hubport","id":"1a","hubid":3}'""": "an id has one form in every spelling (O-01)",
    """-netdev "{'type':'hubport','id':'a','hubid':3}\"""": "single quotes are no JSON",
    "-net nic,macaddr=2:2:3:4:5:100": "an octet has two digits, QEMU cuts it to 8 bits",
    "-netdev hubport,id=b,hubid=0 -netdev hubport,id=a,hubid=0,netdev=b": "a ring, of which QEMU dies (C-66)",
    "-netdev socket,id=s,listen=:0 -net nic,netdev=s -net nic,netdev=s": "one peer only; QEMU refuses with a machine",
    "-netdev socket,id=s,listen=:0 -nic hubport,hubid=1,netdev=s": "its NIC would be the port's second peer",
    "-nic socket,listen=:0,model=foo": "an unknown model; QEMU warns only",
}

WE_ACCEPT = {
    "-netdev hubport,id=a,hubid=1,netdev=b -netdev hubport,id=b,hubid=2": "order means nothing (O-141)",
}


@pytest.mark.parametrize("line", SAME)
def test_both_build_the_same(line: str) -> None:
    shape = qemus(line)
    assert shape is not None
    assert shape == ours(line)


@pytest.mark.parametrize("line", REFUSED)
def test_both_refuse(line: str) -> None:
    assert (None, None) == (qemus(line), ours(line))


@pytest.mark.parametrize("line", WE_REFUSE)
def test_what_we_alone_refuse_stays_on_record(line: str) -> None:
    assert (True, False) == (qemus(line) is not None, ours(line) is not None)


@pytest.mark.parametrize("line", WE_ACCEPT)
def test_what_we_alone_accept_stays_on_record(line: str) -> None:
    assert (False, True) == (qemus(line) is not None, ours(line) is not None)

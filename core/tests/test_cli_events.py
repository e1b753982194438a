"""What a running network tells, in virtual time."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest

from etherloom import Drop, Network
from etherloom.cli.events import DropWatch, Event, EventLog, Lines
from etherloom.cli.snapshot import snapshot, summary
from etherloom.testing import SECOND_NS, MemoryPeer, VirtualLoop

FRAME = bytes(60)
MakePeer = Callable[..., MemoryPeer]


class Told(list[Event]):
    """A sink that keeps what it is told."""

    __call__ = list.append

    @property
    def lines(self) -> list[str]:
        return [event.line for event in self]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def log(network: Network, told: Told) -> EventLog:
    log = EventLog(told, network.context.clock.now_ns)
    log.begin()
    log.quiet = True
    network.observers.append(log)
    return log


def test_a_link_that_goes_down_is_told_with_the_time_since_the_start(
    network: Network, virtual_loop: VirtualLoop, memory_peer: MakePeer, log: EventLog, told: Told
) -> None:
    virtual_loop.advance(1_500_000_000)
    network.set_link(memory_peer("a"), False)
    assert [Event(1.5, "link", "a: link down", {"client": "a", "link": "down"})] == told


def test_clients_come_and_go_without_a_word_while_the_log_is_quiet(
    network: Network, memory_peer: MakePeer, log: EventLog, told: Told
) -> None:
    network.remove(memory_peer("a"))
    log.quiet = False
    network.remove(memory_peer("b"))
    assert ["added", "removed"] == [event.name for event in told]


def test_a_clients_first_drops_are_told_within_a_second(
    network: Network, virtual_loop: VirtualLoop, memory_peer: MakePeer, log: EventLog, told: Told
) -> None:
    watch = DropWatch(network, log)
    memory_peer("a").send_all([FRAME, FRAME])
    virtual_loop.advance(SECOND_NS)
    watch.close()
    assert [Event(1.0, "drops", "a dropped 2 no-peer", {"client": "a", "drops": {"no-peer": 2}})] == told


def test_drops_that_go_on_are_told_every_ten_seconds_with_their_increase(
    network: Network, virtual_loop: VirtualLoop, memory_peer: MakePeer, log: EventLog, told: Told
) -> None:
    watch, lossy = DropWatch(network, log), memory_peer("a")
    for _ in range(25):
        lossy.drop(Drop.HOST_ERROR)
        virtual_loop.advance(SECOND_NS)
    watch.close()
    expected = [(1.0, {"host-error": 1}), (11.0, {"host-error": 10}), (21.0, {"host-error": 10})]
    assert expected == [(event.at_s, event.fields["drops"]) for event in told]


def test_old_drops_are_not_told_again(
    network: Network, virtual_loop: VirtualLoop, memory_peer: MakePeer, log: EventLog, told: Told
) -> None:
    watch = DropWatch(network, log)
    memory_peer("a").drop(Drop.REFUSED)
    virtual_loop.advance(60 * SECOND_NS)
    watch.close()
    assert 1 == len(told)


def test_a_closed_watch_leaves_no_timer(network: Network, virtual_loop: VirtualLoop, log: EventLog) -> None:
    DropWatch(network, log).close()
    virtual_loop.run_until_idle()
    assert virtual_loop.next_timer_ns is None


def test_json_lines_carry_the_text_and_the_particulars() -> None:
    stream = io.StringIO()
    Lines(stream, as_json=True, broken=lambda: None)(Event(0.25, "link", "a: link up", {"client": "a", "link": "up"}))
    expected = {"event": "link", "at_s": 0.25, "text": "a: link up", "client": "a", "link": "up"}
    assert expected == json.loads(stream.getvalue())


def test_a_reader_that_went_away_is_reported_once_and_written_to_no_more() -> None:
    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    broken: list[bool] = []
    lines = Lines(Broken(), as_json=False, broken=lambda: broken.append(True))
    lines(Event(0, "link", "", {}))
    lines(Event(0, "link", "", {}))
    assert [True] == broken


def test_the_snapshot_names_the_port_that_costs_the_offload(network: Network, memory_peer: MakePeer) -> None:
    for name, vnet in (("a", True), ("b", True), ("c", False)):
        peer = memory_peer(name, vnet=vnet)
        port = MemoryPeer(f"port-{name}", network.context)
        port.segment = network.segment(0)
        network.add(port, peer)
    offloads = {row["name"]: row["offload"] for row in snapshot(network) if row["name"] in "abc"}
    assert {"a": "off: c", "b": "off: c", "c": "costs it"} == offloads


def test_the_snapshot_splits_drops_by_direction(network: Network, memory_peer: MakePeer) -> None:
    peer = memory_peer("a")
    peer.send_all([FRAME])
    peer.drop(Drop.QUEUE_FULL, 3)
    (row,) = snapshot(network)
    assert (1, 3) == (row["tx_dropped"], row["rx_dropped"])


def test_the_snapshot_of_many_stops_where_told(network: Network, memory_peer: MakePeer) -> None:
    for name in "abc":
        memory_peer(name)
    assert ["a", "b"] == [row["name"] for row in snapshot(network, 2)]


def test_the_summary_aligns_its_columns(network: Network, memory_peer: MakePeer) -> None:
    memory_peer("a")
    memory_peer("long-name", "a").send_all([bytes(1500)] * 1000)
    network.clients["a"].drop(Drop.REFUSED, 2)
    expected = """\
client     kind  tx frames   tx bytes  rx frames   rx bytes  drops
a                        0          0      1,000  1,500,000  2 refused
long-name            1,000  1,500,000          0          0  0"""
    assert expected == summary(snapshot(network))


def test_what_was_said_before_the_network_is_up_is_told_then_with_its_own_time(
    network: Network, virtual_loop: VirtualLoop, told: Told
) -> None:
    log = EventLog(told, network.context.clock.now_ns)
    log.say("start", "one")
    virtual_loop.advance(SECOND_NS)
    assert [] == told
    log.begin()
    assert [Event(0.0, "start", "one", {})] == told

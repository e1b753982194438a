"""A hub between memory peers: flooding, back-pressure, patches, counters (O-140, O-141, C-60 to C-68, U-15)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import pytest

from etherloom import ConfigError, Context, Drop, Frame, NetClient, Network, Offload
from etherloom.net.inlet import inlet_of
from etherloom.testing import GatheringPeer, MemoryPeer, VirtualLoop, check_net_client, raises
from etherloom_hub import HubPort, HubPortOptions, init

Plug: TypeAlias = Callable[..., MemoryPeer]


@pytest.fixture
def plug(network: Network) -> Plug:
    """`plug("a")` makes memory peer a and plugs it into a port of its own at hub 0, named `a-port`."""

    def make(name: str, hubid: int = 0, *, vnet: bool = False, cls: type[MemoryPeer] = MemoryPeer) -> MemoryPeer:
        peer = cls(name, network.context, vnet=vnet)
        network.add(peer)
        network.add(HubPort(f"{name}-port", network.context, hubid), peer)
        return peer

    return make


def patch(network: Network, one: int, other: int) -> tuple[HubPort, HubPort]:
    """Connect two hubs by a port each."""
    near = HubPort(f"patch-{one}-{other}", network.context, one)
    far = HubPort(f"patch-{other}-{one}", network.context, other)
    network.add(near)
    network.add(far, near)
    return near, far


def counted(network: Network, client: NetClient) -> tuple[int, int, int, int]:
    network.settle()
    counters = client.counters
    return counters.rx_frames, counters.rx_bytes, counters.tx_frames, counters.tx_bytes


class Segment:
    """The far end of a hub port under check: a peer at another port of the hub."""

    frame_max = 69_632

    def __init__(self, port: NetClient) -> None:
        self.network = port.context.network
        self.peer = MemoryPeer("far", port.context)
        self.network.add(self.peer)
        self.network.add(HubPort("far-port", port.context, 0), self.peer)

    def put(self, frame: bytes) -> bool:
        if self.peer.pausing:
            return False
        self.peer.send_all([frame])
        return True

    def take(self) -> list[bytes]:
        frames, self.peer.received = self.peer.received, []
        return frames

    def vanish(self) -> None:
        self.network.remove(self.peer)

    def close(self) -> None:
        pass  # the network's


def test_keeps_the_contract() -> None:
    check_net_client(lambda context, name: init(HubPortOptions(hubid=0), name, None, context), Segment)


# Ports -------------------------------------------------------------------------------------------------------------


def test_a_hub_is_made_on_first_use_and_stays(network: Network) -> None:
    """O-140."""
    port = init(HubPortOptions(hubid=7), "p", None, network.context)
    network.add(port)
    segment = network.segments[7]
    assert [port] == segment.ports
    network.remove(port)
    assert {7: segment} == network.segments
    assert [] == segment.ports


def test_a_port_without_a_netdev_waits_for_a_nic(network: Network, plug: Plug) -> None:
    """O-141."""
    one = plug("one")
    port = HubPort("waiting", network.context, 0)
    network.add(port)
    one.send(bytes(60))
    late = MemoryPeer("late", network.context)
    network.add(late, port)
    one.send(bytes(61))
    assert [bytes(61)] == late.received
    assert {Drop.NO_PEER: 1} == one.counters.drops


def test_a_port_tells_its_hub(network: Network) -> None:
    assert "hub 3" == HubPort("p", network.context, 3).info


def test_a_deleted_port_leaves_its_backend_without_a_peer(network: Network, plug: Plug) -> None:
    """C-75."""
    one, _ = plug("one"), plug("other")
    network.remove(network.clients["one-port"])
    assert one.peer is None
    one.send(bytes(60))
    assert {Drop.NO_PEER: 1} == one.counters.drops


def test_a_deleted_backend_leaves_its_port_free(network: Network, plug: Plug) -> None:
    """C-74."""
    one, _ = plug("one"), plug("other")
    network.remove(one)
    port = network.clients["one-port"]
    assert port.peer is None
    again = MemoryPeer("again", network.context)
    network.add(again, port)
    again.send(bytes(60))
    assert [bytes(60)] == network.clients["other"].received  # type: ignore[attr-defined]


# Flooding ----------------------------------------------------------------------------------------------------------


def test_a_frame_goes_to_every_port_but_its_own(plug: Plug) -> None:
    """C-60."""
    peers = [plug(name) for name in "abcd"]
    peers[1].send(b"x" * 60)
    assert [[b"x" * 60], [], [b"x" * 60], [b"x" * 60]] == [peer.received for peer in peers]


def test_the_newest_port_is_served_first(plug: Plug) -> None:
    """C-60."""
    order: list[str] = []

    def take_turn(name: str, _: Frame) -> bool:
        order.append(name)
        return True

    for name in "abcd":
        peer = plug(name)
        peer.on_receive = partial(take_turn, name)
    plug("source").send(bytes(60))
    assert ["d", "c", "b", "a"] == order


def test_a_hub_learns_no_addresses(plug: Plug) -> None:
    """C-60: a frame to an address that was seen at one port goes to all of them."""
    a, b, c = plug("a"), plug("b"), plug("c")
    at_a = bytes.fromhex("525400000001")
    a.send(bytes(6) + at_a + bytes(48))
    b.send(at_a + bytes(54))
    assert 2 == len(c.received)


@pytest.mark.parametrize(
    ("protocol", "frame"),
    [
        ("STP", "0180c2000000 525400000001 0026 4242 03"),
        ("LACP", "0180c2000002 525400000001 8809 01"),
        ("EAPOL", "0180c2000003 525400000001 888e 01"),
        ("LLDP", "0180c200000e 525400000001 88cc 02"),
        ("pause", "0180c2000001 525400000001 8808 0001"),
    ],
)
def test_reserved_multicast_passes(plug: Plug, protocol: str, frame: str) -> None:
    """U-15: a Linux bridge keeps these to itself."""
    a, b = plug("a"), plug("b")
    a.send(bytes.fromhex(frame).ljust(60, b"\0"))
    assert [bytes.fromhex(frame).ljust(60, b"\0")] == b.received, protocol


def test_short_frames_cross_unpadded(plug: Plug) -> None:
    """C-43."""
    a, b, c = plug("a"), plug("b"), plug("c")
    a.send(bytes(14))
    assert [bytes(14)] == b.received == c.received


def test_a_frame_of_no_bytes_is_dropped_at_its_source(plug: Plug) -> None:
    """C-45."""
    a, b, c = plug("a"), plug("b"), plug("c")
    a.send(b"")
    a.send(bytes(60))
    assert [bytes(60)] == b.received == c.received
    assert {Drop.SHORT: 1} == a.counters.drops


def test_two_hubs_do_not_hear_each_other(plug: Plug) -> None:
    a, b = plug("a", 0), plug("b", 0)
    c, d = plug("c", 1), plug("d", 1)
    a.send(bytes(60))
    d.send(bytes(61))
    assert ([], [bytes(60)], [bytes(61)], []) == (a.received, b.received, c.received, d.received)


def test_a_hub_of_two_ports_is_as_direct_as_no_hub(network: Network, plug: Plug) -> None:
    """The same function in between: `direct`, which knows of no hub."""
    a, b = plug("a"), plug("b")
    one = MemoryPeer("one", network.context)
    network.add(one)
    network.add(MemoryPeer("other", network.context), one)
    assert getattr(one.send, "__code__", one) is getattr(a.send, "__code__", a)
    a.send(bytes(60))
    assert [bytes(60)] == b.received


def test_a_third_port_makes_it_a_hub_again_in_mid_traffic(plug: Plug) -> None:
    a, b = plug("a"), plug("b")
    a.send(bytes(60))
    c = plug("c")
    a.send(bytes(61))
    assert ([bytes(60), bytes(61)], [bytes(61)]) == (b.received, c.received)


def test_the_end_of_a_burst_reaches_every_port_that_gathers(plug: Plug) -> None:
    a, b = plug("a", cls=GatheringPeer), plug("b", cls=GatheringPeer)
    plug("plain")
    c = plug("c", cls=GatheringPeer)
    a.send_all([bytes(60)] * 3)
    assert [[], [[bytes(60)] * 3], [[bytes(60)] * 3]] == [
        peer.bursts for peer in (a, b, c) if isinstance(peer, GatheringPeer)
    ]


# Back-pressure -----------------------------------------------------------------------------------------------------


def test_a_hub_takes_frames_while_one_port_can(virtual_loop: VirtualLoop, plug: Plug) -> None:
    """C-61, C-62, C-63."""
    source, slow, fast = plug("source"), plug("slow"), plug("fast")
    slow.block()
    source.send_all([bytes(60)] * 100)
    assert 100 == len(fast.received)
    assert (False, 0) == (source.pausing, source.counters.pauses)
    slow.unblock()
    virtual_loop.run_until_idle()
    assert [bytes(60)] * 100 == slow.received


def test_a_source_pauses_when_all_other_ports_are_busy(virtual_loop: VirtualLoop, plug: Plug) -> None:
    """C-62."""
    source, b, c = plug("source"), plug("b"), plug("c")
    b.block()
    c.block()
    source.send_all([bytes([n] * 60) for n in range(3)])
    assert (True, 2) == (source.pausing, len(source.unsent))
    b.unblock()
    virtual_loop.run_until_idle()
    assert (False, 0) == (source.pausing, len(source.unsent))
    assert 3 == len(b.received)
    c.unblock()
    virtual_loop.run_until_idle()
    assert b.received == c.received


def test_a_port_that_can_take_frames_again_resumes_every_source(virtual_loop: VirtualLoop, plug: Plug) -> None:
    """C-64."""
    sources = [plug(name) for name in "ab"]
    sink = plug("sink")
    for client in (*sources, sink):
        client.block()
    for source in sources:
        source.send_all([bytes(60)] * 5)
    assert [True, True] == [source.pausing for source in sources]
    sink.unblock()
    virtual_loop.run_until_idle()
    assert [False, False] == [source.pausing for source in sources]
    assert 10 == len(sink.received)


def test_a_slow_ports_queue_is_bounded_and_others_lose_nothing(plug: Plug) -> None:
    """C-63."""
    source, slow, fast = plug("source"), plug("slow"), plug("fast")
    slow.block()
    source.send_all([bytes(60)] * 10_050)
    assert (10_050, {}) == (len(fast.received), fast.counters.drops)
    assert (10_000, {Drop.QUEUE_FULL: 50}) == (len(inlet_of(slow).queue), slow.counters.drops)


def test_one_dead_and_one_slow_port_among_32_delay_nobody(
    virtual_loop: VirtualLoop, network: Network, plug: Plug
) -> None:
    """C-62, C-63: everybody else has every frame at the end of each burst, before the loop turns."""
    source, dead, slow = plug("source"), plug("dead"), plug("slow")
    others = [plug(f"peer{number}") for number in range(29)]
    dead.block()
    slow.on_receive = lambda frame: len(slow.received) < 100 and slow.take(frame)
    for _ in range(250):
        source.send_all([bytes(60)] * 64)
        network.settle()
        assert {source.counters.tx_frames} == {peer.counters.rx_frames for peer in others}
    virtual_loop.run_until_idle()
    network.settle()
    assert (16_000, 0) == (source.counters.tx_frames, source.counters.pauses)
    assert [(16_000, {})] * 29 == [(peer.counters.rx_frames, peer.counters.drops) for peer in others]
    assert (0, {Drop.QUEUE_FULL: 6_000}) == (dead.counters.rx_frames, dead.counters.drops)
    assert (100, {Drop.QUEUE_FULL: 5_900}) == (slow.counters.rx_frames, slow.counters.drops)


def test_a_port_that_raises_is_cut_off_and_the_others_are_served(plug: Plug) -> None:
    a, bad, c = plug("a"), plug("bad"), plug("c")
    bad.on_receive = raises(ZeroDivisionError())
    a.send_all([bytes(60)] * 3)
    a.send_all([bytes(60)] * 3)
    assert 6 == len(c.received)
    assert isinstance(bad.failure, ZeroDivisionError)
    assert 3 == bad.counters.dropped  # the rest of the burst; the next one goes past it


def test_busy_ports_share_one_copy(plug: Plug) -> None:
    a, b, c = plug("a"), plug("b"), plug("c")
    b.block()
    c.block()
    frame = memoryview(bytearray(60)).toreadonly()
    for _ in range(2):
        a.send(frame)
    first, second = (inlet_of(peer).queue[1][1] for peer in (b, c))
    assert first is second


def test_no_port_can_alter_what_its_sibling_sees(plug: Plug) -> None:
    a, b, c = plug("a"), plug("b"), plug("c")

    def scribble(frame: Frame) -> bool:
        assert isinstance(frame, memoryview)
        with pytest.raises(TypeError, match="read-only"):
            frame[0] = 255
        return True

    c.on_receive = scribble
    a.send(memoryview(bytearray(60)).toreadonly())
    assert [bytes(60)] == b.received
    assert c.failure is None


class Echo(NetClient):
    """Returns the first frames it gets."""

    def __init__(self, name: str, context: Context, left: int) -> None:
        super().__init__(name, context)
        self.left = left

    def receive(self, frame: Frame) -> bool:
        if self.left:
            self.left -= 1
            self.send(bytes(frame))
        return True


def test_a_crowd_of_echoes_does_not_recurse(virtual_loop: VirtualLoop, network: Network, plug: Plug) -> None:
    """C-32: 400 clients that answer each other at once would be 400 calls deep."""
    source = plug("source")
    crowd = [Echo(f"echo{number}", network.context, 1) for number in range(400)]
    for echo in crowd:
        network.add(echo)
        network.add(HubPort(f"{echo.name}-port", network.context, 0), echo)
    source.send(bytes(60))
    virtual_loop.run_until_idle()
    network.settle()
    assert {(None, 0, 400)} == {(echo.failure, echo.left, echo.counters.rx_frames) for echo in crowd}
    assert 400 == len(source.received)


# Links -------------------------------------------------------------------------------------------------------------


def test_a_port_whose_link_is_down_is_cut_both_ways_and_no_other(network: Network, plug: Plug) -> None:
    """C-53: the plugged backend is not told."""
    a, b, c = plug("a"), plug("b"), plug("c")
    network.set_link(network.clients["c-port"], False)
    a.send(bytes(60))
    c.send(bytes(61))
    assert ([], [bytes(60)], []) == (a.received, b.received, c.received)
    assert {Drop.LINK_DOWN: 1} == c.counters.drops
    assert c.link_up


def test_a_backend_whose_link_is_down_is_cut_both_ways_and_no_other(network: Network, plug: Plug) -> None:
    """C-54."""
    a, b, c = plug("a"), plug("b"), plug("c")
    network.set_link(c, False)
    a.send(bytes(60))
    c.send(bytes(61))
    assert ([], [bytes(60)], []) == (a.received, b.received, c.received)
    network.set_link(c, True)
    a.send(bytes(62))
    assert [bytes(62)] == c.received


def test_a_blocked_port_whose_link_goes_down_loses_its_queue_counted(network: Network, plug: Plug) -> None:
    """C-33, C-53."""
    a, b, c = plug("a"), plug("b"), plug("c")
    c.block()
    a.send(bytes(60))
    network.set_link(network.clients["c-port"], False)
    assert {Drop.LINK_DOWN: 1} == c.counters.drops
    assert [bytes(60)] == b.received


# Patches -----------------------------------------------------------------------------------------------------------


def test_hubs_connect_hubs(network: Network, plug: Plug) -> None:
    """C-66."""
    peers = [plug("a", 0), plug("b", 1), plug("c", 2), plug("d", 2)]
    patch(network, 0, 1)
    patch(network, 1, 2)
    peers[0].send(b"x" * 60)
    assert [[], [b"x" * 60], [b"x" * 60], [b"x" * 60]] == [peer.received for peer in peers]


def test_an_unplugged_patch_parts_the_hubs(network: Network, plug: Plug) -> None:
    """C-66."""
    a, b, c = plug("a", 0), plug("b", 0), plug("c", 1)
    near, _ = patch(network, 0, 1)
    a.send(bytes(60))
    network.remove(near)
    a.send(bytes(61))
    assert ([bytes(60), bytes(61)], [bytes(60)]) == (b.received, c.received)


def test_a_patch_whose_link_is_down_parts_the_hubs(network: Network, plug: Plug) -> None:
    """C-53, C-66."""
    a, b, c = plug("a", 0), plug("b", 0), plug("c", 1)
    _, far = patch(network, 0, 1)
    network.set_link(far, False)
    a.send(bytes(60))
    assert ([bytes(60)], []) == (b.received, c.received)


@pytest.mark.parametrize("hubs", [1, 2, 3, 5])
def test_a_ring_of_hubs_is_refused_naming_the_cycle(network: Network, hubs: int) -> None:
    """Differs from QEMU (C-66), which accepts it and dies of the first frame."""
    for number in range(hubs - 1):
        patch(network, number, number + 1)
    near = HubPort("near", network.context, hubs - 1)
    network.add(near)
    far = HubPort("far", network.context, 0)
    cycle = " - ".join(f"hub {number}" for number in [*range(hubs), 0])
    with pytest.raises(ConfigError, match=f"connecting 'far' to 'near' closes a ring of hubs: {cycle}"):
        network.add(far, near)
    assert (None, "far" in network.clients) == (near.peer, False)


def test_a_refused_ring_leaves_traffic_as_it_was(network: Network, plug: Plug) -> None:
    """C-66."""
    a, b = plug("a", 0), plug("b", 1)
    patch(network, 0, 1)
    again, back = HubPort("again", network.context, 1), HubPort("back", network.context, 0)
    network.add(again)
    with pytest.raises(ConfigError):
        network.add(back, again)
    a.send(bytes(60))
    assert [bytes(60)] == b.received


# Headers -----------------------------------------------------------------------------------------------------------


def test_a_hub_keeps_headers_if_every_port_takes_them(plug: Plug) -> None:
    """Differs from QEMU (C-68), whose hub never does."""
    peers = [plug(name, vnet=True) for name in "abc"]
    frame = bytes.fromhex("0103 0000 0000 0000 0000") + bytes(4000)
    peers[0].send(frame)
    assert [[], [frame], [frame]] == [peer.received for peer in peers]
    assert [Offload.ALL] * 3 == [peer.offloads[-1] for peer in peers]


def test_one_plain_port_costs_all_the_header_and_is_named(network: Network, plug: Plug) -> None:
    """C-68."""
    a, b = plug("a", vnet=True), plug("b", vnet=True)
    plain = plug("plain")
    cell = network.cell(a)
    assert cell is not None
    assert (plain,) == cell.blockers
    assert [Offload(0)] * 2 == [peer.offloads[-1] for peer in (a, b)]
    a.send(bytes(10) + b"x" * 60)
    plain.send(b"y" * 60)
    assert ([bytes(10) + b"y" * 60], [bytes(10) + b"x" * 60, bytes(10) + b"y" * 60], [b"x" * 60]) == (
        a.received,
        b.received,
        plain.received,
    )


def test_offloads_come_back_when_the_plain_port_goes_down(network: Network, plug: Plug) -> None:
    """Only ports that are up count."""
    a, b, plain = plug("a", vnet=True), plug("b", vnet=True), plug("plain")
    told = [list(peer.offloads) for peer in (a, b)]
    network.set_link(plain, False)
    assert [[*before, Offload.ALL] for before in told] == [peer.offloads for peer in (a, b)]


# Counters ----------------------------------------------------------------------------------------------------------


def test_a_port_counts_what_passes_it(network: Network, plug: Plug) -> None:
    """Into the port is into the hub: what its peer sent. Out of it: what its peer took."""
    a, b, _ = plug("a"), plug("b"), plug("c")
    a.send_all([bytes(60)] * 3)
    b.send(bytes(100))
    assert (3, 180, 1, 100) == counted(network, network.clients["a-port"])
    assert (1, 100, 3, 180) == counted(network, network.clients["b-port"])
    assert (0, 0, 4, 280) == counted(network, network.clients["c-port"])


def test_a_port_of_two_counts_too(network: Network, plug: Plug) -> None:
    a, b = plug("a"), plug("b")
    a.send(bytes(60))
    b.send(bytes(100))
    assert (1, 60, 1, 100) == counted(network, network.clients["a-port"])
    assert (1, 100, 1, 60) == counted(network, network.clients["b-port"])


def test_a_patch_counts_each_frame_that_crosses_it_once(network: Network, plug: Plug) -> None:
    """C-66."""
    a, _, c = plug("a", 0), plug("b", 1), plug("c", 2)
    near, far = patch(network, 0, 1)
    nearer, farther = patch(network, 1, 2)
    a.send(bytes(60))
    c.send(bytes(100))
    assert [(1, 100, 1, 60), (1, 60, 1, 100)] == [counted(network, port) for port in (near, far)]
    assert [(1, 100, 1, 60), (1, 60, 1, 100)] == [counted(network, port) for port in (nearer, farther)]


def test_a_patch_to_an_empty_hub_is_crossed_too(network: Network, plug: Plug) -> None:
    """C-60, C-66: a hub floods its ports, and knows of nothing behind them."""
    a, b = plug("a", 0), plug("b", 0)
    near, far = patch(network, 0, 1)
    a.send(bytes(60))
    assert [bytes(60)] == b.received
    assert [(0, 0, 1, 60), (1, 60, 0, 0)] == [counted(network, port) for port in (near, far)]


def test_port_counters_outlive_a_rewire(network: Network, plug: Plug) -> None:
    a, _ = plug("a"), plug("b")
    a.send(bytes(60))
    plug("c")
    a.send(bytes(60))
    assert (2, 120, 0, 0) == counted(network, network.clients["a-port"])

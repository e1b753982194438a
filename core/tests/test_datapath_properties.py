"""Whatever is wired, cut, blocked, sent and raised, in whatever order: nothing is lost uncounted, overtakes or wedges.

hypothesis builds networks of memory peers and hub ports and pulls at them. Each frame says who sent it and when. Who
should hear a peer is worked out here anew, from links and peers alone, each time the wiring gives the peer another
`send`; so the sum over all counters is known exactly.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, initialize, invariant, multiple, rule

from etherloom import FRAME_MAX, FRAME_MIN, ConfigError, Context, Frame, NetClient, Network, Offload
from etherloom.client import VNET_HEADER_BYTES
from etherloom.net.inlet import inlet_of
from etherloom.testing import MemoryPeer, VirtualLoop

SIZES = st.one_of(
    st.just(60),  # mostly, since the others are slow or go nowhere
    st.just(60),
    st.sampled_from([0, FRAME_MIN - 1, FRAME_MIN, 1514, FRAME_MAX, FRAME_MAX + 1, 70_000]),
    st.integers(0, 70_000),
)
STAMP_BYTES = 8  # number of the sender, number of the frame

# A storm of echoes grows with each round; after so many sends a peer has made its point.
ECHOES_MAX = 40


class MisbehavedError(Exception):
    """What an evil peer raises."""


class Port(NetClient):
    """A hub port, as the plugin makes them."""

    def __init__(self, name: str, context: Context, hubid: int) -> None:
        super().__init__(name, context)
        self.segment = context.segment(hubid)


class Peer(MemoryPeer):
    """A peer that keeps the books of what it sends, and lives by one evil or another."""

    def __init__(self, number: int, context: Context, *, vnet: bool, nic: bool) -> None:
        self.reach: frozenset[str] = frozenset()
        super().__init__(f"peer{number}", context, vnet=vnet)
        self.is_nic = nic  # type: ignore[misc]  # of the instance here, to draw it
        self.number = number
        self.evil = ""
        self.handed = self.offers = 0
        self.due = 0  # how many deliveries, or drops in their place, its frames must come to

    @property
    def send(self) -> Callable[[Frame], bool]:
        return self._send

    @send.setter
    def send(self, path: Callable[[Frame], bool]) -> None:
        self._send = path
        self.reach = frozenset(client.name for client in hearers(self))

    def hand(self, size: int, *, lent: bool = True) -> None:
        """Send a frame of `size` bytes whatever was answered before, and note what it must come to."""
        stamp = self.number.to_bytes(4, "big") + self.handed.to_bytes(4, "big")
        frame = bytearray(VNET_HEADER_BYTES if self.vnet else 0) + stamp.ljust(size, b"\0")[:size]
        self.handed += 1
        self.due += len(self.reach) if FRAME_MIN <= size <= FRAME_MAX and self.reach else 1
        self.send(memoryview(frame).toreadonly() if lent else bytes(frame))
        frame[:] = b"\xff" * len(frame)

    def receive(self, frame: Frame) -> bool:
        network = self.context.network
        if self.evil == "echo" and self.handed < ECHOES_MAX:
            self.hand(60)
        elif self.evil == "raise":
            raise MisbehavedError
        elif self.evil == "none":
            return None  # type: ignore[return-value]
        elif self.evil == "leave" and present(self):
            network.remove(self)
        elif self.evil == "kill" and network.clients:
            network.remove(next(iter(network.clients.values())))
        elif self.evil == "part":
            network.disconnect(self)
        elif self.evil == "flap" and present(self):
            network.set_link(self, not self.link_up)
        elif self.evil == "flush":
            self.flush()
        elif self.evil == "stutter":
            self.offers += 1
            if self.offers % 3:
                self.context.loop.call_soon(self.flush)
                return False
        return super().receive(frame)

    def resume(self) -> None:
        if self.evil == "raise":
            raise MisbehavedError
        if self.evil == "echo" and self.handed < ECHOES_MAX:
            self.hand(60)
        super().resume()


EVILS = ("", "echo", "raise", "none", "leave", "kill", "part", "flap", "flush", "stutter")


def present(client: NetClient) -> bool:
    return client.context.network.clients.get(client.name) is client


def hearers(peer: NetClient) -> list[NetClient]:
    """Who hears a peer now: through links that are up, past each hub port once."""
    found: list[NetClient] = []
    fronts = [peer]
    passed: set[NetClient] = {peer}
    for client in fronts:
        far = client.peer
        if far is None or not (client.link_up and far.link_up):
            continue
        if far.segment is None:
            if far is not peer:
                found.append(far)
        else:
            ports = [port for port in far.segment.ports if port is not far and port not in passed]
            passed.update(ports, (far,))
            fronts.extend(ports)
    return found


class DataPath(RuleBasedStateMachine):
    peers: Bundle[Peer] = Bundle("peers")
    ports: Bundle[Port] = Bundle("ports")

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.network = Network(self.loop, clock=self.loop.clock)
        self.all: list[Peer] = []
        self.made = 0
        logging.getLogger("etherloom").disabled = True  # what it says of the misbehaved is not the question

    def teardown(self) -> None:
        try:
            self._calm_down()
            self.network.close()
            self.loop.run_until_idle()
        finally:
            self.loop.close()
            logging.getLogger("etherloom").disabled = False

    # Making and breaking -----------------------------------------------------------------------------------------

    @initialize(target=peers, vnets=st.lists(st.booleans(), min_size=2, max_size=4), patched=st.booleans())
    def begin_with_hubs(self, vnets: list[bool], patched: bool) -> MultipleResults[Peer]:
        """Two hubs, perhaps patched, with peers at both: the traffic of the rules below has somewhere to go."""
        made = [self._peer(vnet=vnet) for vnet in vnets]
        for peer in made:
            self._connect(self._port(peer.number % 2), peer)
        if patched:
            self._connect(self._port(0), self._port(1))
        return multiple(*made)

    @initialize(target=peers, nic=st.booleans(), vnet=st.booleans())
    def begin_with_a_pair(self, nic: bool, vnet: bool) -> MultipleResults[Peer]:
        one, other = self._peer(vnet=vnet), self._peer(nic=nic)
        self._connect(one, other)
        return multiple(one, other)

    @rule(target=peers, vnet=st.booleans(), nic=st.booleans(), accepts=st.sampled_from([Offload.ALL, Offload(0)]))
    def make_peer(self, vnet: bool, nic: bool, accepts: Offload) -> Peer:
        return self._peer(vnet=vnet, nic=nic, accepts=accepts)

    @rule(target=ports, peer=st.one_of(peers, st.none()), hubid=st.integers(0, 2))
    def make_port(self, peer: Peer | None, hubid: int) -> Port:
        port = self._port(hubid)
        if peer is not None:
            self._connect(port, peer)
        return port

    @rule(one=st.one_of(peers, ports), other=st.one_of(peers, ports))
    def connect(self, one: NetClient, other: NetClient) -> None:
        self._connect(one, other)

    def _peer(self, *, vnet: bool = False, nic: bool = False, accepts: Offload = Offload.ALL) -> Peer:
        self.made += 1
        peer = Peer(self.made, self.network.context, vnet=vnet, nic=nic)
        peer.accepts = accepts
        self.network.add(peer)
        self.all.append(peer)
        return peer

    def _port(self, hubid: int) -> Port:
        self.made += 1
        port = Port(f"port{self.made}", self.network.context, hubid)
        self.network.add(port)
        return port

    def _connect(self, one: NetClient, other: NetClient) -> None:
        if one is not other and one.peer is None and other.peer is None and present(one) and present(other):
            try:
                self.network.connect(one, other)
            except ConfigError:  # a ring of hubs
                assert one.peer is other.peer is None

    @rule(client=st.one_of(peers, ports))
    def disconnect(self, client: NetClient) -> None:
        self.network.disconnect(client)

    @rule(client=st.one_of(peers, ports))
    def remove(self, client: NetClient) -> None:
        if present(client):
            self.network.remove(client)

    @rule(client=st.one_of(peers, ports), up=st.booleans())
    def set_link(self, client: NetClient, up: bool) -> None:
        if present(client):
            self.network.set_link(client, up)

    @rule(peer=peers, frames=st.integers(1, 5), octets=st.integers(100, 100_000))
    def shorten_queue(self, peer: Peer, frames: int, octets: int) -> None:
        inlet_of(peer).queue_frames_max, inlet_of(peer).queue_bytes_max = frames, octets

    # Behaving and misbehaving ------------------------------------------------------------------------------------

    @rule(peer=peers, blocked=st.booleans())
    def block(self, peer: Peer, blocked: bool) -> None:
        if blocked:
            peer.block()
        else:
            peer.unblock()

    @rule(peer=peers, evil=st.sampled_from(EVILS))
    def turn_evil(self, peer: Peer, evil: str) -> None:
        peer.evil = evil

    @rule(peer=peers, sizes=st.lists(SIZES, min_size=1, max_size=8), lent=st.booleans())
    def send(self, peer: Peer, sizes: list[int], lent: bool) -> None:
        with self.network.burst():
            for size in sizes:
                peer.hand(size, lent=lent)
            peer.end_burst()

    @rule(peer=peers, size=SIZES)
    def send_without_a_burst(self, peer: Peer, size: int) -> None:
        if not any(other.evil for other in self.all):  # a receiver that rewires would do so with the frame in its hands
            peer.hand(size)

    @rule(peer=peers, other=st.one_of(peers, ports), third=st.one_of(peers, ports), size=SIZES)
    def rewire_in_mid_burst(self, peer: Peer, other: NetClient, third: NetClient, size: int) -> None:
        with self.network.burst():
            peer.hand(size)
            self.network.disconnect(other)
            peer.hand(size)
            self._connect(other, third)
            if present(third):
                self.network.set_link(third, False)
                peer.hand(size)
                self.network.remove(third)
            peer.hand(size)

    @rule()
    def run_the_loop(self) -> None:
        self.loop.run_until_idle()

    @rule()
    def calm_down(self) -> None:
        self._calm_down()

    def _calm_down(self) -> None:
        """The end of all evil: every queue empties, nobody waits, every door stands open."""
        for peer in self.all:
            peer.evil = ""
            peer.unblock()
        self.loop.run_until_idle()
        inlets = [inlet_of(peer) for peer in self.all]
        assert [] == [inlet.client.name for inlet in inlets if inlet.queue]
        assert [] == [inlet.client.name for inlet in inlets if inlet.shut and not inlet.closed]
        assert [] == [peer.name for peer in self.all if peer._paused and peer.failure is None and present(peer)]

    # What must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def the_wiring_is_what_the_topology_says(self) -> None:
        now = {peer.name: frozenset(client.name for client in hearers(peer)) for peer in self.all if present(peer)}
        assert now == {peer.name: peer.reach for peer in self.all if present(peer)}

    @invariant()
    def nothing_is_lost_uncounted(self) -> None:
        self.network.settle()
        received = sum(peer.counters.rx_frames for peer in self.all)
        dropped = sum(peer.counters.dropped for peer in self.all)
        queued = sum(len(inlet_of(peer).queue) for peer in self.all)
        assert sum(peer.due for peer in self.all) == received + dropped + queued

    @invariant()
    def what_arrived_is_what_was_counted(self) -> None:
        assert {peer.name: len(peer.received) for peer in self.all} == {
            peer.name: peer.counters.rx_frames for peer in self.all
        }

    @invariant()
    def queues_know_their_size(self) -> None:
        inlets = [inlet_of(peer) for peer in self.all]
        assert [sum(len(frame) for _, frame in inlet.queue) for inlet in inlets] == [
            inlet.queued_bytes for inlet in inlets
        ]

    @invariant()
    def no_frame_overtakes_another_of_its_sender(self) -> None:
        for peer in self.all:
            last: dict[bytes, bytes] = {}
            for frame in peer.received:
                payload = frame[VNET_HEADER_BYTES:] if peer.vnet else frame
                assert FRAME_MIN <= len(payload) <= FRAME_MAX
                source, number = payload[:4], payload[4:STAMP_BYTES]
                assert last.get(source, b"") < number
                last[source] = number


TestDataPath = DataPath.TestCase
TestDataPath.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)

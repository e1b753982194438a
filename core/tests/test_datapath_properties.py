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
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

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
CHOICE = st.integers(0, 11)
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
        elif self.evil == "flush" and not self._blocked:  # who flushes and refuses each time is asked for ever
            self.flush()
        elif self.evil == "stutter":
            self.offers += 1
            if self.offers % 3 == 1:
                self.flush()
            elif self.offers % 3 == 2:
                self.context.loop.call_soon(self.flush)
            if self.offers % 3:
                return False
        return super().receive(frame)

    def resume(self) -> None:
        if self.evil == "raise":
            raise MisbehavedError
        if self.evil == "echo" and self.handed < ECHOES_MAX:
            self.hand(60)
        super().resume()


EVILS = ("", "echo", "raise", "none", "leave", "kill", "part", "flap", "flush")


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
    """Rules pick clients by number among those that are in the network, so that few steps go nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.network = Network(self.loop, clock=self.loop.clock)
        self.all: list[Peer] = []
        self.made = 0
        logging.getLogger("etherloom").disabled = True  # what it says of the misbehaved is not the question

    def teardown(self) -> None:
        try:
            self.calm()
            self.network.close()
            self.loop.run_until_idle()
        finally:
            self.loop.close()
            logging.getLogger("etherloom").disabled = False

    # Making and breaking -----------------------------------------------------------------------------------------

    @initialize(vnets=st.lists(st.booleans(), min_size=4, max_size=6), patched=st.booleans())
    def begin(self, vnets: list[bool], patched: bool) -> None:
        """A pair, and two hubs, perhaps patched, with a peer or more at each."""
        made = [self.make_peer(vnet=vnet) for vnet in vnets]
        self.network.connect(made[0], made[1])
        self.mend()
        if patched:
            self.network.connect(self.make_port(0), self.make_port(1))

    @rule(vnet=st.booleans(), nic=st.booleans(), accepts=st.sampled_from([Offload.ALL, Offload(0)]))
    def add_peer(self, vnet: bool, nic: bool, accepts: Offload) -> None:
        self.make_peer(vnet=vnet, nic=nic, accepts=accepts)

    @rule()
    def mend(self) -> None:
        """Links up, and every peer without a wire into a port."""
        for client in list(self.network.clients.values()):
            self.network.set_link(client, True)
            if client.peer is None and client.segment is None:
                self.network.connect(client, self.make_port(self.made % 2))

    @rule(one=CHOICE, other=CHOICE)
    def rewire(self, one: int, other: int) -> None:
        self.join(self.client(one), self.client(other))

    @rule(one=CHOICE, how=st.sampled_from(["disconnect", "remove", "down", "up"]))
    def cut(self, one: int, how: str) -> None:
        client = self.client(one)
        if how == "disconnect":
            self.network.disconnect(client)
        elif how == "remove":
            self.network.remove(client)
        else:
            self.network.set_link(client, how == "up")

    @rule(frames=st.integers(1, 9), octets=st.integers(100, 100_000))
    def shorten_queues(self, frames: int, octets: int) -> None:
        for inlet in map(inlet_of, self.all):
            inlet.queue_frames_max, inlet.queue_bytes_max = frames, octets

    # Behaving and misbehaving ------------------------------------------------------------------------------------

    @rule(which=st.integers(0, 255))
    def block(self, which: int) -> None:
        """Those whose bit is set take nothing; the others go on."""
        for peer in self.all:
            if which >> peer.number % 8 & 1:
                peer.block()
            else:
                peer.unblock()

    @rule(one=CHOICE, evil=st.sampled_from(EVILS))
    def turn_evil(self, one: int, evil: str) -> None:
        self.peer(one).evil = evil

    @rule(which=st.integers(0, 255))
    def stutter(self, which: int) -> None:
        """Those whose bit is set take one frame in three, which is no evil."""
        for peer in self.all:
            peer.evil = "stutter" if which >> peer.number % 8 & 1 else peer.evil

    @rule(one=CHOICE, sizes=st.lists(SIZES, min_size=1, max_size=8), lent=st.booleans())
    def send(self, one: int, sizes: list[int], lent: bool) -> None:
        peer = self.peer(one)
        with self.network.burst():
            for size in sizes:
                peer.hand(size, lent=lent)
            peer.end_burst()

    @rule(rounds=st.integers(1, 4))
    def everybody_sends(self, rounds: int) -> None:
        with self.network.burst():
            for peer in self.all * rounds:
                peer.hand(60)

    @rule(one=CHOICE, size=SIZES)
    def send_without_a_burst(self, one: int, size: int) -> None:
        if not any(peer.evil for peer in self.all):  # a receiver that rewires would do so with the frame in its hands
            self.peer(one).hand(size)

    @rule(one=CHOICE, other=CHOICE, third=CHOICE, removing=st.booleans())
    def rewire_in_mid_burst(self, one: int, other: int, third: int, removing: bool) -> None:
        peer, second = self.peer(one), self.client(other)
        with self.network.burst():
            peer.hand(60)
            self.join(second, self.client(third))
            peer.hand(60)
            if removing and present(second):
                self.network.remove(second)
            peer.hand(60)

    @rule()
    def run_the_loop(self) -> None:
        self.loop.run_until_idle()

    @rule()
    def calm_down(self) -> None:
        self.calm()

    # What the rules are made of ----------------------------------------------------------------------------------

    def make_peer(self, *, vnet: bool = False, nic: bool = False, accepts: Offload = Offload.ALL) -> Peer:
        self.made += 1
        peer = Peer(self.made, self.network.context, vnet=vnet, nic=nic)
        peer.accepts = accepts
        self.network.add(peer)
        self.all.append(peer)
        return peer

    def make_port(self, hubid: int) -> Port:
        self.made += 1
        port = Port(f"port{self.made}", self.network.context, hubid)
        self.network.add(port)
        return port

    def client(self, choice: int) -> NetClient:
        """One of the clients in the network; never none."""
        clients = list(self.network.clients.values())
        return clients[choice % len(clients)] if clients else self.make_port(0)

    def peer(self, choice: int) -> Peer:
        """One of the peers in the network; never none."""
        peers = [peer for peer in self.all if present(peer) and peer.failure is None]
        return peers[choice % len(peers)] if peers else self.make_peer()

    def join(self, one: NetClient, other: NetClient) -> None:
        """Make them peers, whosever they were."""
        if one is other or not (present(one) and present(other)):
            return
        self.network.disconnect(one)
        self.network.disconnect(other)
        try:
            self.network.connect(one, other)
        except ConfigError:  # a ring of hubs
            assert one.peer is other.peer is None

    def calm(self) -> None:
        """The end of all evil: every queue empties, nobody waits, every door stands open."""
        for peer in self.all:
            peer.evil = "stutter" if peer.evil == "stutter" else ""
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
TestDataPath.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)

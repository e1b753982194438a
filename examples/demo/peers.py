"""Memory peers in the place of taps: a LAN that asks, and a guest's side that answers and counts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from ipaddress import IPv4Address

from etherloom import Frame
from etherloom.net.network import Network
from etherloom.testing import MemoryPeer
from examples.demo import frames
from examples.demo.frames import Station
from examples.demo.outcome import Pings
from examples.demo.traffic import ECHO_REPLY, echo_request

__all__ = ["ETHERTYPE", "GUEST_MAC", "LAN", "GuestSide", "Lan"]

LAN = Station(bytes.fromhex("02000000000a"), IPv4Address("10.77.0.1"))
GUEST_MAC = bytes.fromhex("02000000000b")
ETHERTYPE = bytes.fromhex("88b5")  # local experimental (IEEE 802)
ECHO = ETHERTYPE + b"\1"


class Lan:
    """What asks, at the uplink: a burst of questions, and then it waits for as many answers."""

    def __init__(self, network: Network) -> None:
        self._loop = network.loop
        self.peer = _peer(network, "uplink")
        self.peer.on_receive = self._receive
        self._answers: list[bytes] = []
        self._wanted = 0
        self._answered = self._loop.create_future()

    async def ask(self, questions: Sequence[bytes]) -> tuple[list[bytes], float]:
        """Send a burst and wait for as many answers; with the microseconds it took."""
        self._answers, self._wanted = [], len(questions)
        self._answered = self._loop.create_future()
        start = time.perf_counter()
        self.peer.send_all(questions)
        return self._answers, (await self._answered - start) * 1e6

    async def echo(self) -> float:
        """Send the guest's side one frame and wait for its answer; microseconds."""
        _, round_trip_us = await self.ask([(GUEST_MAC + LAN.mac + ECHO).ljust(60, b"\0")])
        return round_trip_us

    async def find(self, address: str) -> Station:
        """Who has an address, by ARP."""
        (found,), _ = await self.ask([frames.arp_request(LAN, IPv4Address(address))])
        return Station(found[6:12], IPv4Address(address))

    async def ping(self, target: Station, count: int) -> Pings:
        """One echo request after the other."""
        round_trips = []
        for sequence in range(count):
            question = frames.ipv4(LAN, target, frames.ICMP, echo_request(0, sequence))
            (answer,), round_trip_us = await self.ask([question])
            if answer[frames.DATA] == ECHO_REPLY:
                round_trips.append(round_trip_us)
        return Pings(count, round_trips)

    def _receive(self, frame: Frame) -> bool:
        if len(self._answers) < self._wanted and not frames.is_arp_request(frame):
            self._answers.append(bytes(frame))
            if len(self._answers) == self._wanted:
                self._answered.set_result(time.perf_counter())
        return True


class GuestSide:
    """What answers echo, and counts everything.

    Attributes:
        octets: What has arrived.
    """

    def __init__(self, network: Network) -> None:
        self._peer = _peer(network, "guest")
        self._peer.on_receive = self._receive
        self.octets = 0

    def _receive(self, frame: Frame) -> bool:
        self.octets += len(frame)
        if frame[12:15] == ECHO:
            self._peer.send(bytes(frame[6:12]) + bytes(frame[0:6]) + bytes(frame[12:]))
            self._peer.end_burst()
        return True


def _peer(network: Network, name: str) -> MemoryPeer:
    peer = network.clients[name]
    assert isinstance(peer, MemoryPeer)
    return peer

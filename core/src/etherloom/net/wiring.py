"""From topology to paths: who hears whom, in which form, by which `send`.

A *domain* is everything that frames could cross from a client, links up or not. Within it, a *cell* is what they do
cross now: links that are down cut it. All members of a cell speak one form: vnet if every one of them does, else plain.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import and_

import attrs

from etherloom.client import VNET_HEADER_BYTES, NetClient, Offload
from etherloom.counters import Drop
from etherloom.net import paths
from etherloom.net.inlet import Inlet, inlet_of
from etherloom.net.segment import Segment

__all__ = ["Cell", "Route", "domain", "ring", "settle", "wire"]


@attrs.frozen
class Cell:
    """Clients that hear each other.

    Attributes:
        members: The clients, hub ports left out, newest first.
        crossings: The patch cables between its segments, as pairs of hub ports; every frame crosses each once.
        flooded: Whether there is a segment in it, or just two peers.
        vnet: Whether frames keep their virtio-net header all the way.
        costly: The members that others must finish their frames for: without a header, or not accepting all.
    """

    members: tuple[NetClient, ...]
    crossings: tuple[tuple[NetClient, NetClient], ...] = ()
    flooded: bool = False
    vnet: bool = attrs.field(init=False)
    costly: tuple[NetClient, ...] = attrs.field(init=False)

    @vnet.default
    def _all_vnet(self) -> bool:
        return all(member.vnet for member in self.members)

    @costly.default
    def _all_costly(self) -> tuple[NetClient, ...]:
        return tuple(member for member in self.members if not member.vnet or member.accepts is not Offload.ALL)

    def crossings_from(self, start: Segment | None) -> Iterator[tuple[NetClient, NetClient]]:
        """The patch cables as a frame from `start` meets them: the port it leaves by, the port it enters by."""
        reached, left = {start}, list(self.crossings)
        while left:
            for cable in left:
                near, far = cable if cable[0].segment in reached else cable[::-1]
                if near.segment in reached and far.segment is not None:
                    reached.add(far.segment)
                    left.remove(cable)
                    yield near, far
                    break

    def offload(self, source: NetClient) -> Offload:
        """What `source` may leave undone: what every other member takes unfinished."""
        if not self.vnet:
            return Offload(0)
        return reduce(and_, (member.accepts for member in self.costly if member is not source), Offload.ALL)

    @property
    def blockers(self) -> tuple[NetClient, ...]:
        """Who costs the others their offloads, where there are some to be had."""
        return self.costly if any(member.vnet for member in self.members) else ()


class Route:
    """What one client's frames do at present, and what was counted of them.

    Attributes:
        cell: Where they go; None without a peer or with a link down.
        offload: What the client may leave undone; of meaning with a cell only.
        port: The hub port it is plugged into; None when it is not.
        watcher: Told of every frame the client sends; kept over rewires.
        tally: Counted by the path since the last settle.
        receiver: The one inlet that `tally` counts for as well; None when flooding.
        header_bytes: Of the frames that `tally` counts.
    """

    __slots__ = ("cell", "header_bytes", "offload", "port", "receiver", "seen_rx", "seen_tx", "tally", "watcher")

    def __init__(self) -> None:
        self.cell: Cell | None = None
        self.tally = paths.Tally()
        self.receiver: Inlet | None = None
        self.header_bytes = 0
        self.offload = Offload(0)
        self.port: NetClient | None = None
        self.seen_tx = self.seen_rx = (0, 0)
        self.watcher: paths.Watcher | None = None

    def begin(self, client: NetClient, cell: Cell | None, header_bytes: int) -> None:
        """Start over after a rewire of `client`; what was counted so far has been settled."""
        self.cell, self.header_bytes = cell, header_bytes
        self.port = client.peer if client.peer is not None and client.peer.segment is not None else None
        self.tally, self.receiver = paths.Tally(), None


def patches(segment: Segment) -> Iterator[tuple[NetClient, NetClient]]:
    """The patch cables that leave a segment: its own port, the other segment's port."""
    for port in segment.ports:
        if port.peer is not None and port.peer.segment is not None:
            yield port, port.peer


def ring(one: Segment, other: Segment) -> list[Segment]:
    """The segments on the way from `one` to `other`, both included; empty if there is none."""
    ways = [[one]]
    for way in ways:  # grows while it is walked; the segments form a forest, so this ends
        if way[-1] is other:
            return way
        for _, far in patches(way[-1]):
            if far.segment is not None and far.segment not in way:
                ways.append([*way, far.segment])
    return []


def domain(client: NetClient) -> tuple[list[NetClient], list[Segment]]:
    """Everything a frame of `client` could reach, whatever the links say: endpoints and segments, `client`'s first."""
    start = client if client.segment is not None else client.peer
    if start is None or start.segment is None:
        return [member for member in (client, client.peer) if member is not None and member.segment is None], []
    segments = [start.segment]
    endpoints: list[NetClient] = []
    for segment in segments:  # grows while it is walked
        for port in segment.ports:
            if port.peer is None:
                continue
            if port.peer.segment is None:
                endpoints.append(port.peer)
            elif port.peer.segment not in segments:
                segments.append(port.peer.segment)
    return endpoints, segments


def cells(endpoints: list[NetClient], segments: list[Segment]) -> Iterator[Cell]:
    """Cut a domain where a link is down. Endpoints that nobody can reach are in no cell."""
    if not segments:
        if len(endpoints) == 2 and all(member.link_up for member in endpoints):
            yield Cell(tuple(endpoints))
        return
    left = list(segments)
    while left:
        joined = [left.pop(0)]
        members: list[NetClient] = []
        crossings: list[tuple[NetClient, NetClient]] = []
        for segment in joined:  # grows while it is walked
            for port in segment.ports:
                peer = port.peer
                if peer is None or not (port.link_up and peer.link_up):
                    continue
                if peer.segment is None:
                    members.append(peer)
                elif peer.segment in left:
                    left.remove(peer.segment)
                    joined.append(peer.segment)
                    crossings.append((port, peer))
        yield Cell(tuple(members), tuple(crossings), flooded=True)


def wire(endpoints: list[NetClient], segments: list[Segment], routes: dict[NetClient, Route]) -> None:
    """Set `send` and `end_burst` of every endpoint of a domain, and bring its row in `routes` up to date."""
    cut = dict.fromkeys(endpoints)
    for cell in cells(endpoints, segments):
        inlets = tuple(inlet_of(member) for member in cell.members)
        plain = tuple(inlet for inlet in inlets if not inlet.client.vnet)
        headed = tuple(inlet for inlet in inlets if inlet.client.vnet)
        gatherers = tuple(inlet for inlet in inlets if inlet.gathers)
        for member in cell.members:
            if len(inlets) == 1:  # a hub with one live port
                continue
            del cut[member]
            route = routes[member]
            route.begin(member, cell, VNET_HEADER_BYTES if cell.vnet else 0)
            other = inlets[1] if inlets[0].client is member else inlets[0]
            if len(inlets) == 2 and (cell.vnet or not other.client.vnet):
                route.receiver = other
                send = paths.direct(member, other, route.tally, route.header_bytes)
            elif cell.vnet:
                send = paths.flood(member, headed, (), route.tally, route.header_bytes)
            else:
                send = paths.flood(member, plain, headed, route.tally, 0)
            route.offload = cell.offload(member)
            if member.vnet and route.offload is not Offload.ALL:
                checksums = Offload.CSUM in route.offload
                send = paths.completing(member, send, keep_header=cell.vnet, checksums=checksums)
            member.send = paths.watched(send, route.watcher)
            member.end_burst = paths.burst_end(member, gatherers)
    for member in cut:
        alone = member.link_up and (member.peer is None or member.peer.link_up)
        routes[member].begin(member, None, 0)
        lost = paths.lost(member, Drop.NO_PEER if alone else Drop.LINK_DOWN)
        member.send = paths.watched(lost, routes[member].watcher)
        member.end_burst = paths.nothing


def settle(routes: dict[NetClient, Route]) -> None:
    """Bring every client's counters up to date: what the paths, the inlets and the hub ports have to add."""
    for client, route in routes.items():
        tally = route.tally
        if tally.frames:
            payload = tally.octets - tally.frames * route.header_bytes
            client.counters.add_tx(tally.frames, payload)
            if route.receiver is not None:
                route.receiver.client.counters.add_rx(tally.frames, payload)
            tally.frames = tally.octets = 0
        inlet = inlet_of(client)
        if inlet.rx_frames:
            headers = inlet.rx_frames * VNET_HEADER_BYTES if client.vnet else 0
            client.counters.add_rx(inlet.rx_frames, inlet.rx_octets - headers)
            inlet.rx_frames = inlet.rx_octets = 0
    for client, route in routes.items():
        _settle_ports(client, route)


def _settle_ports(client: NetClient, route: Route) -> None:
    """A hub port has no path of its own: it passed what its peer sent and took."""
    if route.port is None:
        return
    counters, port = client.counters, route.port.counters
    sent = counters.tx_frames - route.seen_tx[0], counters.tx_bytes - route.seen_tx[1]
    got = counters.rx_frames - route.seen_rx[0], counters.rx_bytes - route.seen_rx[1]
    route.seen_tx = counters.tx_frames, counters.tx_bytes
    route.seen_rx = counters.rx_frames, counters.rx_bytes
    port.add_rx(*sent)
    port.add_tx(*got)
    for near, far in route.cell.crossings_from(route.port.segment) if route.cell is not None else ():
        near.counters.add_tx(*sent)
        far.counters.add_rx(*sent)

"""`Loom.apply`: start-up, hot add, delete and re-binding are one road."""

from __future__ import annotations

import errno
import tracemalloc
from collections.abc import Callable, Iterator

import attrs
import pytest

from etherloom import (
    ConfigError,
    Context,
    Drop,
    HostError,
    NetClient,
    NetClientKind,
    PluginImportError,
    PluginNotFound,
)
from etherloom.config.apply import Loom
from etherloom.config.model import ClientConfig, NetworkConfig
from etherloom.plugins.hookspecs import hookimpl
from etherloom.plugins.registry import Registry
from etherloom.testing import MemoryNic, MemoryPeer, VirtualLoop

FRAME = bytes(60)


@attrs.frozen(kw_only=True)
class Options:
    label: str = ""
    hubid: int | None = None
    netdev: str | None = None


class Port(MemoryPeer):
    """A hub port, or what hides that it is one behind an option of its own."""

    def __init__(self, name: str, context: Context, hubid: int) -> None:
        super().__init__(name, context)
        self.segment = context.segment(hubid)


class Starting(MemoryPeer):
    """Waits in `start` until `go` is set to None or to an exception."""

    async def start(self) -> None:
        self.state = "starting"
        self.go = self.context.loop.create_future()
        try:
            await self.go
            self.state = "started"
        finally:
            if self.state == "starting":
                self.state = "stopped"


class Hooks:
    """Writes down what plugins are told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @hookimpl
    def network_up(self) -> None:
        self.told.append("up")

    @hookimpl
    def network_down(self) -> None:
        self.told.append("down")

    @hookimpl
    def net_client_added(self, client: NetClient) -> None:
        self.told.append(f"+{client.name}")

    @hookimpl
    def net_client_removed(self, client: NetClient) -> None:
        self.told.append(f"-{client.name}")


class World:
    """A loom with kinds `mem`, `nic`, `port` and `starting`, and what its plugins were told."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.hooks = Hooks()
        self.inits: list[tuple[str, str | None]] = []
        self.fatal: dict[str, Callable[[], BaseException]] = {}
        self.loop = loop
        rows = [
            self.row("mem", lambda name, context, _: MemoryPeer(name, context)),
            self.row("nic", lambda name, context, _: MemoryNic(name, context)),
            self.row("starting", lambda name, context, _: Starting(name, context)),
            self.row("port", lambda name, context, options: Port(name, context, options.hubid)),
            self.row("sly", lambda name, context, options: Port(name, context, int(options.label))),
        ]
        self.loom = Loom(Registry(rows=rows), loop, clock=loop.clock)
        self.network = self.loom.network

    def row(self, kind: str, make: object) -> NetClientKind:
        def init(options: Options, name: str, peer: NetClient | None, context: Context) -> NetClient:
            self.inits.append((name, peer.name if peer is not None else None))
            client = make(name, context, options)  # type: ignore[operator]
            context.timer(client, lambda: None).arm_in(10**9)
            if name in self.fatal:
                raise self.fatal[name]()
            return client  # type: ignore[no-any-return]

        return NetClientKind(kind=kind, options=Options, init=init, summary=kind, hooks=self.hooks)

    def apply(self, *clients: ClientConfig, carrier: bool = False) -> None:
        self.loom.apply(NetworkConfig(clients=clients, carrier=carrier))

    def client(self, name: str) -> MemoryPeer:
        client = self.network.clients[name]
        assert isinstance(client, MemoryPeer)
        return client

    @property
    def peers(self) -> dict[str, str | None]:
        clients = self.network.clients.items()
        return {name: client.peer.name if client.peer is not None else None for name, client in clients}


@pytest.fixture
def world(virtual_loop: VirtualLoop) -> Iterator[World]:
    world = World(virtual_loop)
    yield world
    world.loom.close()
    virtual_loop.run_until_idle()


def mem(name: str, netdev: str | None = None, *, kind: str = "mem", label: str = "") -> ClientConfig:
    return ClientConfig(name, kind, Options(label=label, netdev=netdev), netdev, origin=f"-netdev {kind},id={name}")


def port(name: str, hubid: int, netdev: str | None = None) -> ClientConfig:
    options = Options(hubid=hubid, netdev=netdev)
    return ClientConfig(name, "port", options, netdev, origin=f"-netdev port,id={name}")


def test_start_up_makes_clients_in_order_and_hands_each_init_its_peer(world: World) -> None:
    world.apply(mem("a"), mem("n", "a", kind="nic"), mem("c"))
    assert [("a", None), ("n", "a"), ("c", None)] == world.inits
    assert {"a": "n", "n": "a", "c": None} == world.peers
    assert ["+a", "+n", "+c", "up"] == world.hooks.told


def test_the_kind_a_client_was_made_from_is_written_on_it(world: World) -> None:
    world.apply(mem("n", kind="nic"))
    assert "nic" == world.client("n").kind


def test_the_same_configuration_again_touches_nothing(world: World) -> None:
    config = mem("a"), mem("b", "a")
    world.apply(*config)
    before = dict(world.network.clients)
    world.apply(*config)
    assert before == world.network.clients
    assert ["+a", "+b", "up"] == world.hooks.told


def test_hot_add_leaves_the_others_running_with_their_counters_and_queues(world: World) -> None:
    world.apply(mem("a"), mem("b", "a"))
    world.client("b").block()
    world.client("a").send_all([FRAME, FRAME])
    world.apply(mem("a"), mem("b", "a"), mem("c"))
    world.client("b").unblock()
    world.loop.run_until_idle()
    world.network.settle()
    assert [FRAME, FRAME] == world.client("b").received
    assert 2 == world.client("a").counters.tx_frames
    assert [("a", None), ("b", "a"), ("c", None)] == world.inits


def test_what_is_no_longer_named_is_removed_newest_first(world: World) -> None:
    world.apply(mem("a"), mem("b"), mem("c"))
    world.hooks.told.clear()
    world.apply(mem("b"))
    assert ["-c", "-a"] == world.hooks.told


def test_a_peer_that_only_loses_its_netdev_stays(world: World) -> None:
    world.apply(mem("a"), mem("n", "a", kind="nic"))
    nic = world.client("n")
    world.apply(mem("n", kind="nic"))
    assert nic is world.client("n")
    assert {"n": None} == world.peers


def test_a_changed_option_makes_the_client_anew_under_its_live_peer(world: World) -> None:
    world.apply(mem("a"), mem("n", "a", kind="nic"))
    nic, backend = world.client("n"), world.client("a")
    world.apply(mem("a", label="new"), mem("n", "a", kind="nic"))
    assert nic is world.client("n")
    assert backend is not world.client("a")
    assert 1 == backend.closes
    assert {"n": "a", "a": "n"} == world.peers


def test_c73_a_backend_deleted_and_added_again_is_bound_to_its_nic_again(world: World) -> None:
    """C-73 is the defect (QEMU's NIC stays with a ghost), U-04 the wish."""
    world.apply(mem("a"), mem("n", "a", kind="nic"))
    nic = world.client("n")
    world.apply(mem("n", kind="nic"))
    world.apply(mem("a"), mem("n", "a", kind="nic"))
    world.client("a").send_all([FRAME])
    assert nic is world.client("n")
    assert [FRAME] == nic.received


def test_c73_a_backend_is_replaced_by_one_of_another_kind_under_a_live_hub_port(world: World) -> None:
    """U-04: a place-holder replaced by the real thing, while the hub runs."""
    world.apply(mem("a"), port("pa", 0, "a"), mem("b"), port("pb", 0, "b"))
    world.apply(mem("a", kind="nic"), port("pa", 0, "a"), mem("b"), port("pb", 0, "b"))
    world.client("b").send_all([FRAME])
    assert isinstance(world.client("a"), MemoryNic)
    assert [FRAME] == world.client("a").received
    assert 5 == len(world.inits)


def test_re_peering_swaps_cables_and_keeps_the_clients(world: World) -> None:
    world.apply(mem("a"), mem("b"), mem("x", "a"), mem("y", "b"))
    before = dict(world.network.clients)
    world.apply(mem("a"), mem("b"), mem("x", "b"), mem("y", "a"))
    assert before == world.network.clients
    assert {"a": "y", "b": "x", "x": "b", "y": "a"} == world.peers


def test_a_failed_client_is_made_anew_though_its_options_are_the_same(world: World) -> None:
    world.apply(mem("a"), mem("b", "a"))
    world.network.fail(world.client("a"), ZeroDivisionError())
    world.apply(mem("a"), mem("b", "a"))
    world.loop.run_until_idle()
    world.client("b").send_all([FRAME])
    assert [FRAME] == world.client("a").received


def test_a_client_removed_behind_the_looms_back_is_made_again(world: World) -> None:
    world.apply(mem("a"), mem("b", "a"))
    world.network.remove(world.client("a"))
    world.apply(mem("a"), mem("b", "a"))
    assert {"b": "a", "a": "b"} == world.peers


def test_clients_that_the_program_added_itself_are_left_alone(world: World) -> None:
    one, other = MemoryPeer("one", world.network.context), MemoryPeer("other", world.network.context)
    world.network.add(one)
    world.network.add(other, one)
    world.apply(mem("a"))
    world.apply()
    assert {"one": "other", "other": "one"} == world.peers


def test_carrier_propagation_is_switched_with_the_configuration(world: World) -> None:
    """U-01; off, as in QEMU (C-55), unless asked for."""
    world.apply(mem("a"), mem("n", "a", kind="nic"), carrier=True)
    world.client("a").set_carrier(False)
    assert [False] == world.client("n").links


def test_frames_flow_from_the_first_turn_after_apply_and_not_between_old_and_new(world: World) -> None:
    world.apply(mem("a"), mem("b", "a"))
    old = world.client("a")
    world.apply(mem("a", label="new"), mem("b", "a"))
    old.send(FRAME)
    assert [] == world.client("b").received
    assert {Drop.REMOVED: 1} == old.counters.drops


def test_network_hooks_are_called_once_up_and_once_down(world: World) -> None:
    world.apply(mem("a"))
    world.apply()
    world.loom.close()
    world.loom.close()
    assert ["+a", "up", "-a", "down"] == world.hooks.told


def test_a_closed_loom_can_be_used_again(world: World) -> None:
    world.apply(mem("a"))
    world.loom.close()
    world.apply(mem("a"), mem("b", "a"))
    assert {"a": "b", "b": "a"} == world.peers


# start ---------------------------------------------------------------------------------------------------------------


def starting(world: World, name: str = "s") -> Starting:
    client = world.network.clients[name]
    assert isinstance(client, Starting)
    return client


def test_start_runs_on_the_loop_once_everything_is_wired(world: World) -> None:
    world.apply(mem("s", kind="starting"), mem("b", "s"))
    assert not hasattr(starting(world), "state")
    world.loop.run_until_idle()
    starting(world).go.set_result(None)
    world.loop.run_until_idle()
    assert "started" == starting(world).state


def test_an_exception_in_start_takes_that_client_down(world: World) -> None:
    world.apply(mem("s", kind="starting"), mem("b", "s"))
    world.loop.run_until_idle()
    error = OSError("no such host")
    starting(world).go.set_exception(error)
    world.loop.run_until_idle()
    assert error is world.client("s").failure
    assert 1 == world.client("s").closes


def test_start_is_cancelled_when_its_client_is_removed(world: World) -> None:
    world.apply(mem("s", kind="starting"))
    world.loop.run_until_idle()
    client = starting(world)
    world.apply()
    world.loop.run_until_idle()
    assert "stopped" == client.state
    assert client.failure is None


# Refused before anything is touched ----------------------------------------------------------------------------------


def refused(world: World, *clients: ClientConfig) -> str:
    """The refusal's text; what ran before runs on untouched."""
    world.apply(mem("old"))
    before = world.client("old"), list(world.inits)
    with pytest.raises(ConfigError) as refusal:
        world.apply(*clients)
    assert before == (world.client("old"), world.inits)
    return str(refusal.value)


def test_an_unknown_peer_is_refused_with_the_nearest_name(world: World) -> None:
    text = refused(world, mem("uplink"), mem("b", "uplnik"))
    expected = "-netdev mem,id=b: netdev: there is no net client 'uplnik' (allowed: did you mean 'uplink'?)"
    assert expected == text


def test_a_busy_peer_is_refused_with_those_that_are_free(world: World) -> None:
    """C-03; for a hub port QEMU aborts (O-141)."""
    text = refused(world, mem("a"), mem("b"), mem("x", "a"), port("y", 0, "a"))
    assert "-netdev port,id=y: netdev: 'a' is connected to 'x' already (allowed: b)" == text


def test_a_client_is_refused_as_its_own_peer(world: World) -> None:
    assert "-netdev mem,id=a: netdev: 'a' cannot be its own peer" == refused(world, mem("a", "a"))


def test_a_peer_that_is_made_later_is_refused(world: World) -> None:
    text = refused(world, mem("b", "a"), mem("a"))
    assert "-netdev mem,id=b: netdev: 'a' comes later (allowed: a client made before this one)" == text


def test_c06_a_duplicate_id_is_refused(world: World) -> None:
    text = refused(world, mem("a"), mem("a", kind="nic"))
    assert "-netdev nic,id=a: id: the id 'a' is taken (allowed: a unique id)" == text


def test_c66_a_ring_of_hubs_is_refused_naming_it(world: World) -> None:
    """C-66: QEMU accepts it and dies of the first frame."""
    ring = port("p01", 0), port("p10", 1, "p01"), port("p12", 1), port("p21", 2, "p12"), port("p20", 2)
    text = refused(world, *ring, port("p02", 0, "p20"))
    assert "-netdev port,id=p02: netdev: 'p20' closes a ring: hub 0 - hub 1 - hub 2 - hub 0" == text


def test_c66_a_hub_patched_to_itself_is_refused(world: World) -> None:
    text = refused(world, port("p", 4), port("q", 4, "p"))
    assert "-netdev port,id=q: netdev: 'p' closes a ring: hub 4 - hub 4" == text


def test_hubs_patched_in_a_tree_are_wired(world: World) -> None:
    """C-66: a hub port whose peer is another hub's port is a patch cable."""
    world.apply(mem("a"), port("pa", 0, "a"), port("p01", 0), port("p10", 1, "p01"), mem("b"), port("pb", 1, "b"))
    world.client("a").send_all([FRAME])
    assert [FRAME] == world.client("b").received


def test_an_unknown_kind_is_refused_before_anything_is_touched(world: World) -> None:
    world.apply(mem("old"))
    with pytest.raises(PluginNotFound):
        world.apply(mem("new"), mem("x", kind="nosuch"))
    assert {"old": None} == world.peers


# All or nothing ------------------------------------------------------------------------------------------------------


def refusal() -> HostError:
    return HostError("open /dev/net/tun", errno.EPERM)


def test_when_an_init_raises_everything_made_so_far_is_removed_newest_first(world: World) -> None:
    world.fatal["c"] = refusal
    with pytest.raises(HostError):
        world.apply(mem("a"), mem("b", "a"), mem("c"), mem("d"))
    assert {} == world.peers
    assert ["+a", "+b", "-b", "-a"] == world.hooks.told


def test_nothing_that_a_refused_init_registered_is_left_on_the_loop(world: World) -> None:
    world.fatal["a"] = refusal
    with pytest.raises(HostError):
        world.apply(mem("a"))
    world.loop.run_until_idle()
    assert world.loop.next_timer_ns is None


def test_what_a_refused_apply_removed_is_made_again_and_connected(world: World) -> None:
    world.apply(mem("a"), mem("n", "a", kind="nic"))
    nic = world.client("n")
    world.fatal["c"] = refusal
    with pytest.raises(HostError):
        world.apply(mem("a", label="new"), mem("n", "a", kind="nic"), mem("c"))
    world.client("a").send_all([FRAME])
    assert nic is world.client("n")
    assert [FRAME] == nic.received


def test_a_client_that_runs_on_keeps_its_peer_through_a_refused_swap_of_cables(world: World) -> None:
    world.apply(mem("a"), mem("b"), mem("x", "a"), mem("y", "b"))
    before = dict(world.network.clients)
    world.fatal["c"] = refusal
    with pytest.raises(HostError):
        world.apply(mem("a"), mem("b"), mem("x", "b"), mem("y", "a"), mem("c"))
    assert before == world.network.clients
    assert {"a": "x", "x": "a", "b": "y", "y": "b"} == world.peers


def test_what_cannot_be_made_again_is_named_on_the_error_and_leaves_its_peer_alone(world: World) -> None:
    world.apply(mem("a"), mem("b", "a"))
    world.fatal = {"a": refusal}
    with pytest.raises(HostError) as raised:
        world.apply(mem("a", label="new"), mem("b", "a"))
    assert {"b": None} == world.peers
    assert ["b"] == [client.name for client in world.loom.config.clients]
    note = "'a' could not be made again: cannot open /dev/net/tun: Operation not permitted"
    assert ["-netdev mem,id=a", note] == raised.value.__notes__


def test_after_a_refused_apply_the_next_one_works_as_if_it_had_not_been(world: World) -> None:
    world.apply(mem("a"), mem("b", "a"))
    world.fatal["c"] = refusal
    with pytest.raises(HostError):
        world.apply(mem("c"))
    del world.fatal["c"]
    world.apply(mem("a"), mem("b", "a"), mem("c"))
    assert {"a": "b", "b": "a", "c": None} == world.peers


def test_a_refused_apply_copes_with_a_client_removed_behind_the_looms_back(world: World) -> None:
    world.apply(mem("a"), mem("b", "a"))
    world.network.remove(world.client("a"))
    world.fatal["c"] = refusal
    with pytest.raises(HostError):
        world.apply(mem("b"), mem("c"))
    assert {"b": None} == world.peers


def test_a_config_error_of_an_init_gets_the_clients_origin(world: World) -> None:
    world.fatal["a"] = lambda: ConfigError("'x' is no colour", key="label", allowed="red")
    with pytest.raises(ConfigError) as raised:
        world.apply(mem("a"))
    assert "-netdev mem,id=a: label: 'x' is no colour (allowed: red)" == str(raised.value)


def test_any_other_exception_of_an_init_is_its_plugins(world: World) -> None:
    error = ZeroDivisionError("division by zero")
    world.fatal["a"] = lambda: error
    with pytest.raises(PluginImportError) as raised:
        world.apply(mem("b"), mem("a"))
    assert "mem" == raised.value.kind
    assert error is raised.value.__cause__
    assert {} == world.peers


def test_an_interrupt_in_an_init_rolls_back_too(world: World) -> None:
    world.fatal["b"] = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        world.apply(mem("a"), mem("b"))
    assert {} == world.peers


def test_c66_a_ring_that_only_the_wiring_sees_is_refused_and_rolled_back(world: World) -> None:
    """Ports of a kind that does not call its hub `hubid`."""
    world.apply(mem("old"))
    ring = mem("p", kind="sly", label="1"), mem("q", "p", kind="sly", label="1")
    with pytest.raises(ConfigError, match=r"^-netdev sly,id=q: connecting 'q' to 'p' closes a ring of hubs"):
        world.apply(*ring)
    assert {"old": None} == world.peers


# Many ----------------------------------------------------------------------------------------------------------------


def test_each_of_a_thousand_idle_clients_takes_less_than_8_kib(world: World) -> None:
    pairs = [(mem(f"a{i}"), port(f"p{i}", i // 10, f"a{i}")) for i in range(500)]
    tracemalloc.start()
    try:
        world.apply(*(client for pair in pairs for client in pair))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / 1000 < 8192

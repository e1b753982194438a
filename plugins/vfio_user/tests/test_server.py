"""The socket, the place in the network, and several devices side by side."""

from __future__ import annotations

import errno
import os
import resource
import socket
from pathlib import Path

import pytest

from etherloom import ConfigError, HostError, NetClient
from etherloom.config import qemu
from etherloom.config.options import describe
from etherloom.kinds import NicModelKind
from etherloom.plugins.registry import Registry
from etherloom.testing import SECOND_NS, VirtualLoop
from etherloom_vfio_user import KIND, VfioUserOptions, VfioUserPort
from etherloom_vfio_user._intx import PATIENCE_NS
from etherloom_vfio_user._server import EAGER_MAX, POLL_NS
from etherloom_vfio_user._wire import ACCESS, Command
from etherloom_vfio_user.testing import Guest, ProbeNic, Rig, Style


def unused(*_: object) -> NetClient:
    raise AssertionError


def served(rig: Rig, path: Path) -> VfioUserPort:
    """Another device in the same network."""
    nic = ProbeNic(f"nic{len(rig.network.clients)}", rig.network.context)
    rig.network.add(nic)
    return rig.network.own(nic, VfioUserPort(nic, rig.network.context, path))


def test_socket_is_there_before_the_loop_runs_and_gone_afterwards(tmp_path: Path) -> None:
    loop = VirtualLoop()
    rig = Rig(loop, tmp_path / "nic.sock")
    assert rig.path.is_socket()
    rig.close()
    assert not rig.path.exists()
    loop.close()


def test_socket_of_a_dead_process_is_replaced(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(bytes(path))
        dead.listen()
    assert path.is_socket()
    served(rig, path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(bytes(path))


@pytest.mark.parametrize("waiting", [0, 5], ids=["idle", "its backlog full"])
def test_socket_of_a_live_process_is_left_alone(rig: Rig, waiting: int) -> None:
    clients = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) for _ in range(waiting)]
    for client in clients:
        client.connect_ex(bytes(rig.path))
    with pytest.raises(HostError, match="another process serves it") as refusal:
        served(rig, rig.path)
    for client in clients:
        client.close()
    assert errno.EADDRINUSE == refusal.value.errno
    rig.loop.run_until_idle()
    assert b"\xf4\x1a" == rig.guest().read(7, 0, 2)


def test_what_is_no_socket_is_left_alone(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="is no socket"):
        served(rig, path)
    assert "precious" == path.read_text()


def test_path_that_is_too_long_is_refused_in_a_users_words(rig: Rig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at most 107 bytes"):
        served(rig, tmp_path / ("x" * 108))


def test_directory_that_is_missing_is_refused(rig: Rig, tmp_path: Path) -> None:
    with pytest.raises(HostError) as refusal:
        served(rig, tmp_path / "missing" / "nic.sock")
    assert errno.ENOENT == refusal.value.errno


def test_socket_that_somebody_else_made_in_our_place_is_left_alone(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "second.sock"
    port = served(rig, path)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(bytes(path))
        port.close()
        assert path.exists()


def test_guest_is_shown_in_tables(rig: Rig) -> None:
    expected = f"bus=vfio-user,socket={rig.path}"
    assert expected == rig.port.info
    guest = rig.guest()
    assert f"{expected},connected" == rig.port.info
    guest.close()
    assert expected == rig.port.info


def test_hundred_guests_one_after_the_other_find_the_device_as_new(rig: Rig, style: Style) -> None:
    for number in range(100):
        guest = rig.guest(style)
        assert bytes(4) == guest.read(1, 0, 4)
        guest.write(1, 0, b"used")
        rig.nic.raise_interrupt()
        assert (1, number + 1) == (guest.signals, rig.nic.irq.rises)
        guest.close()


def test_second_guest_is_served_when_the_first_is_gone(rig: Rig) -> None:
    """A new QEMU may be quicker than the old one's end."""
    first, second = rig.client(), rig.client()
    first.introduce()
    second.send(second.message(Command.VERSION, bytes(4)))
    assert second.silent()
    first.close()
    assert not second.reply().failed


def test_timer_of_a_guest_that_left_does_not_signal_the_next(rig: Rig) -> None:
    guest = rig.guest()
    rig.nic.raise_interrupt()
    guest.unmask()
    guest.close()
    second = rig.guest()
    rig.loop.advance(10 * PATIENCE_NS)
    assert 0 == second.signals


def test_process_without_descriptors_looks_again_later(rig: Rig) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    client = socket.socket(socket.AF_UNIX)
    free = os.dup(client.fileno())
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        client.connect(bytes(rig.path))
        rig.loop.run_until_idle()
        assert "connected" not in rig.port.info
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    rig.loop.advance(2 * SECOND_NS)
    assert rig.port.info.endswith("connected")
    client.close()


def test_clients_misbehaviour_is_logged_at_a_limited_rate(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(100):
        client = rig.client()
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        client.close()
    assert 1 == len(caplog.records)
    rig.loop.advance(60 * SECOND_NS)
    client = rig.client()
    client.send(b"GET / HTTP/1.1\r\n\r\n")
    client.close()
    assert 2 == len(caplog.records)


def test_loop_polls_for_a_driver_that_is_quick_and_sleeps_for_one_that_is_not(rig: Rig) -> None:
    guest = rig.guest()
    rig.polls.clear()
    guest.read(1, 0, 1)
    assert [rig.loop.clock.now_ns() + POLL_NS] == rig.polls
    for _ in range(EAGER_MAX):
        rig.loop.advance(SECOND_NS)
        guest.read(1, 0, 1)
    rig.polls.clear()
    rig.loop.advance(SECOND_NS)
    guest.read(1, 0, 1)
    assert [] == rig.polls
    guest.read(1, 0, 1)
    assert [rig.loop.clock.now_ns() + POLL_NS] == rig.polls


def test_loop_does_not_poll_for_writes_that_nobody_waits_for(rig: Rig) -> None:
    guest = rig.guest()
    rig.polls.clear()
    guest.post(1, 0, b"x")
    guest.post(1, 0, b"x")
    rig.loop.run_until_idle()
    assert [] == rig.polls


# The device's own end -------------------------------------------------------------------------------------------------


def test_guest_of_a_device_that_is_removed_is_hung_up_on(rig: Rig) -> None:
    guest = rig.guest()
    rig.network.remove(rig.nic)
    assert guest.hung_up()
    assert not rig.path.exists()


def test_device_that_is_removed_by_its_own_access_is_gone_after_it(rig: Rig) -> None:
    guest = rig.guest()
    rig.nic.on_read = lambda: rig.network.remove(rig.nic)
    request = guest.message(Command.REGION_READ, ACCESS.pack(0, 1, 4))
    guest.send(request * 3, [guest.ram_fd])
    assert guest.hung_up()
    assert [("read", 0, 4)] == rig.nic.accesses


def test_device_that_raises_takes_down_itself_and_nobody_else(rig: Rig, tmp_path: Path) -> None:
    other = tmp_path / "other.sock"
    served(rig, other)
    guest = rig.guest()
    error = ZeroDivisionError()

    def fail() -> None:
        raise error

    rig.nic.on_read = fail
    guest.send(guest.message(Command.REGION_READ, ACCESS.pack(0, 1, 4)), [guest.ram_fd])
    assert guest.hung_up()
    assert (error, False, True) == (rig.nic.failure, rig.path.exists(), other.is_socket())


def test_devices_side_by_side_do_not_hear_each_others_guests(rig: Rig, tmp_path: Path) -> None:
    other = Rig(rig.loop, tmp_path / "other.sock")
    one, two = rig.guest(), other.guest()
    one.write(1, 0, b"one.")
    two.write(1, 0, b"two.")
    two.send(b"\xff" * 64)
    assert two.hung_up()
    other.nic.raise_interrupt()
    assert (b"one.", 0) == (one.read(1, 0, 4), one.signals)
    other.close()


# The plugin -----------------------------------------------------------------------------------------------------------


def test_contract_attach_puts_a_device_into_a_guest_and_close_takes_it_out(rig: Rig, tmp_path: Path) -> None:
    nic = ProbeNic("other", rig.network.context)
    rig.network.add(nic)
    model = NicModelKind(kind="probe", options=VfioUserOptions, init=unused, summary="")
    port = KIND.attach(VfioUserOptions(socket=tmp_path / "other.sock"), nic, model, rig.network.context)
    with Guest(tmp_path / "other.sock", pump=rig.loop.run_until_idle) as guest:
        assert b"\xf4\x1a" == guest.read(7, 0, 2)
        assert port.info.endswith("connected")
        port.close()
        assert guest.hung_up()
    assert (1, None, False) == (nic.resets, nic.dma.memory, nic.irq.asserted)


def test_bus_is_found_by_name_and_its_socket_is_an_option_of_the_nic(tmp_path: Path) -> None:
    registry = Registry.discover()
    assert KIND is registry.bus("vfio-user")
    path = tmp_path / "nic.sock"
    config = qemu.parse(["-device", f"rtl8139,bus=vfio-user,socket={path}"], registry)
    (client,) = config.clients
    assert client.bus is not None
    assert VfioUserOptions(socket=path) == client.bus.options


def test_socket_is_mandatory() -> None:
    with pytest.raises(ConfigError, match="socket"):
        qemu.parse(["-device", "rtl8139,bus=vfio-user"], Registry.discover())


def test_readme_has_the_options_table() -> None:
    rows = [f"| `{o.name}` | {o.type} | {o.default} | {o.help} |" for o in describe(KIND)]  # type: ignore[arg-type]
    table = "\n".join(["| option | type | default | what |", "|---|---|---|---|", *rows])
    assert table in Path(__file__).parents[1].joinpath("README.md").read_text()

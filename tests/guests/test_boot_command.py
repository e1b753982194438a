"""`etherloom boot` with a real QEMU and a real guest, on a network that needs no privilege."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import termios
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from etherloom.guest.qemu import Kernel

from .terminal import PROMPT, Console, on_terminal

pytestmark = pytest.mark.qemu

# The guest's NIC on a hub with one that answers it.
NETWORK = """
[netdev.one]
type = "hubport"
hubid = 0

[netdev.other]
type = "hubport"
hubid = 0

[nic.ours]
model = "rtl8139"
bus = "vfio-user"
socket = "ours.sock"
netdev = "one"

[nic.echo]
model = "rtl8139"
bus = "inline"
ip = "10.0.0.1/24"
netdev = "other"
"""


@pytest.fixture
def lab(guests: None, tmp_path: Path) -> Path:
    """A folder with the network's file."""
    (tmp_path / "lab.toml").write_text(NETWORK)
    return tmp_path


def command(*options: str) -> list[str]:
    return [str(Path(sys.executable).with_name("etherloom")), "boot", "lab.toml", *options]


def test_a_guest_does_what_its_command_line_says_and_leaves_no_socket(lab: Path) -> None:
    order = b64encode(b"ethtool -i eth0 && ping -c 3 10.0.0.1").decode()
    append = f"quiet ip=10.0.0.2/24 etherloom.run={order}"
    done = subprocess.run(
        command("--append", append), cwd=lab, capture_output=True, text=True, timeout=90, stdin=subprocess.DEVNULL
    )
    assert (0, True, True) == (done.returncode, "driver: 8139cp" in done.stdout, "3 packets received" in done.stdout)
    assert [lab / "lab.toml"] == list(lab.iterdir())


@pytest.fixture
def console(lab: Path) -> Iterator[Console]:
    """At the guest's prompt."""
    with on_terminal(command("--append", "quiet"), lab) as console:
        console.read_until(PROMPT)
        yield console


def test_the_terminal_is_the_guest_s_shell_and_leaving_it_ends_everything(console: Console) -> None:
    console.type("echo $((6 * 7))")
    console.read_until("42")
    console.type("exit")
    console.read_until("client  kind")
    assert 0 == console.process.wait(timeout=30)


def test_the_terminal_is_as_before_when_qemu_was_killed(console: Console) -> None:
    cooked = termios.ICANON | termios.ECHO | termios.ISIG
    assert 0 == termios.tcgetattr(console.fd)[3] & cooked
    os.kill(console.qemu, signal.SIGKILL)
    console.read_until("status -9")
    assert 1 == console.process.wait(timeout=30)
    assert cooked == termios.tcgetattr(console.fd)[3] & cooked


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_qemu_ends_with_us(console: Console, end: signal.Signals) -> None:
    qemu = os.pidfd_open(console.qemu)
    console.process.send_signal(end)
    ended, _, _ = select.select([qemu], [], [], 30)
    assert [qemu] == ended
    os.close(qemu)


NETWORK_OF_THE_DISK = NETWORK.replace("10.0.0.1", "10.0.2.15")  # its guest is 10.0.2.16
MARK = "written by the guest"


def test_a_raw_disk_is_booted_and_keeps_what_the_guest_writes(lab: Path) -> None:
    """A qcow2 disk, and one whose writes are forgotten: test_docs_boot.py."""
    (lab / "lab.toml").write_text(NETWORK_OF_THE_DISK)
    image = Path(shutil.copy(Kernel.cached("trixie").kernel.with_name("disk.raw"), lab))
    with on_terminal(command("--disk", str(image)), lab) as console:
        shown = console.read_until(PROMPT)
        console.type("ethtool -i eth0 && ping -c 1 10.0.2.15")
        shown += console.read_until("packet loss")
        console.type(f"printf '{MARK}' | dd of=/dev/vda conv=notrunc && sync && exit")
        console.read_to_the_end()
        assert 0 == console.process.wait(timeout=30)
    wanted = ["SYSLINUX", "driver: 8139cp", "1 packets received"]
    assert wanted == [each for each in wanted if each in shown]
    assert image.read_bytes().startswith(MARK.encode())

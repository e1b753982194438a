"""`etherloom boot` with a real QEMU and a real guest, on a network that needs no privilege."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import termios
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

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
PROMPT = "guest:/# "


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


@attrs.frozen
class Console:
    """`etherloom boot` on a terminal of ours, and its QEMU."""

    process: subprocess.Popen[bytes]
    terminal: int

    def read_until(self, text: str) -> str:
        """What it shows up to `text`; fails if it ends before that."""
        shown = ""
        while text not in shown:
            shown += os.read(self.terminal, 65536).decode(errors="replace")
        return shown

    @property
    def qemu(self) -> int:
        """Its process id."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(int(child) for child in children if "qemu" in Path(f"/proc/{child}/cmdline").read_text())


@pytest.fixture
def console(lab: Path) -> Iterator[Console]:
    """At the guest's prompt."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command("--append", "quiet"), cwd=lab, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        console = Console(process, ours)
        console.read_until(PROMPT)
        yield console
        process.kill()
    os.close(ours)
    os.close(theirs)


def test_the_terminal_is_the_guest_s_shell_and_leaving_it_ends_everything(console: Console) -> None:
    os.write(console.terminal, b"echo $((6 * 7))\r")
    console.read_until("42")
    os.write(console.terminal, b"exit\r")
    console.read_until("client  kind")
    assert 0 == console.process.wait(timeout=30)


def test_the_terminal_is_as_before_when_qemu_was_killed(console: Console) -> None:
    cooked = termios.ICANON | termios.ECHO | termios.ISIG
    assert 0 == termios.tcgetattr(console.terminal)[3] & cooked
    os.kill(console.qemu, signal.SIGKILL)
    console.read_until("status -9")
    assert 1 == console.process.wait(timeout=30)
    assert cooked == termios.tcgetattr(console.terminal)[3] & cooked


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_qemu_ends_with_us(console: Console, end: signal.Signals) -> None:
    qemu = os.pidfd_open(console.qemu)
    console.process.send_signal(end)
    ended, _, _ = select.select([qemu], [], [], 30)
    assert [qemu] == ended
    os.close(qemu)

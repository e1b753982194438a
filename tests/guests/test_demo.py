"""`script/demo --guest` as its user runs it, to its end and to other ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

pytestmark = [pytest.mark.qemu, pytest.mark.root]

CHECKOUT = Path(__file__).parents[2]
BOOTING = re.compile(r"demo: QEMU [\d.]+ boots Linux")
NO_NAMESPACES = (
    "unshare",
    "--user",
    "--map-root-user",
    "sh",
    "-c",
    "echo 0 >/proc/sys/user/max_net_namespaces && $0 $1",
)


class Demo:
    """The demo, in a session of its own, with a directory of its own for temporary files.

    Attributes:
        process: Its first process; it leads the session.
        output: What it wrote so far.
    """

    def __init__(self, around: tuple[str, ...], temporary: Path) -> None:
        self._temporary = temporary
        self._interfaces = interfaces()
        self.process = subprocess.Popen(
            [*around, "script/demo", "--guest"],
            cwd=CHECKOUT,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""

    def read_until(self, pattern: str | re.Pattern[str]) -> None:
        """Fails if it ends before that."""
        assert self.process.stdout is not None
        while not re.search(pattern, self.output):
            line = self.process.stdout.readline()
            assert line, self.output
            self.output += line

    def end(self) -> int:
        """Wait for it; its status."""
        assert self.process.stdout is not None
        self.output += self.process.stdout.read()
        return self.process.wait(timeout=30)

    def processes(self) -> dict[int, str]:
        """All of its session, by number: the program's path."""
        found = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                # proc(5): the session is the fourth field after the name, which may contain anything
                if int(stat.read_text().rpartition(")")[2].split()[3]) == self.process.pid:
                    found[int(stat.parent.name)] = str(stat.with_name("exe").readlink())
            except (FileNotFoundError, ProcessLookupError):
                pass  # it has ended
        return found

    def qemu(self) -> int:
        """The number of QEMU's process, once it is there; only after BOOTING."""
        while True:
            assert self.process.poll() is None
            for number, program in self.processes().items():
                if "/qemu" in program:
                    return number

    def remains(self) -> list[object]:
        """What there is of it. Its namespaces have no name: they go with the last process in them."""
        return [*self.processes(), *self._temporary.iterdir(), *(interfaces() - self._interfaces)]


def interfaces() -> set[Path]:
    return set(Path("/sys/class/net").iterdir())


@pytest.fixture
def start(guests: None, tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Starts the demo, perhaps by another command around it."""
    demos = []

    def start(*around: str) -> Demo:
        demos.append(Demo(around, tmp_path))
        return demos[0]

    yield start
    with demos[0].process as process:
        for each in demos[0].processes():
            os.kill(each, signal.SIGKILL)
        process.wait()


def drawn() -> set[str]:
    """The words in its picture."""
    return {element.text or "" for element in ET.parse(CHECKOUT / "out/guest.svg").iter()}


def test_linux_answers_the_lan_and_the_summary_tells_what_its_driver_did(start: Callable[..., Demo]) -> None:
    demo = start()
    assert demo.end() == 0, demo.output
    for expected in (
        r"(?m)^  8139cp 0000:00:02.0 eth0: RTL-8139C\+ at ",
        r"(?m)^  idle( +\d+){3} +0 of 300$",
        r"(?m)^  TCP, Linux to LAN: \d+\.\d\d Gbit/s \(\d[\d.]+ MB in ",
        r"(?m)^  TCP, LAN to Linux: \d+\.\d\d Gbit/s \(\d[\d.]+ MB in ",
        r"(?m)^  nic0      rtl8139( +[\d,]{4,}){2}   ",
        r"(?m)^  what the driver did to nic0, traced\n    register reads   .*ISR [\d,]{4,}",
        r"(?m)^    register writes  .*TPPOLL [\d,]{4,}",
        r"(?m)^    interrupts       [\d,]{4,}, 0\.\d\d a frame",
    ):
        assert re.search(expected, demo.output), (expected, demo.output)
    assert {"eth0", "br0", "tap0", "uplink", "hub 0", "nic0", "Linux"} <= drawn()
    assert [] == demo.remains()


def test_where_namespaces_are_refused_a_memory_peer_pings_linux(start: Callable[..., Demo]) -> None:
    demo = start(*NO_NAMESPACES)
    assert demo.end() == 0, demo.output
    assert "demo: refused: cannot make a network namespace (LAN)" in demo.output
    assert re.search(r"(?m)^  idle( +\d+){3} +0 of 1000$", demo.output), demo.output
    assert {"refused by this host", "uplink", "hub 0", "nic0", "Linux"} <= drawn()
    assert [] == demo.remains()


@pytest.mark.parametrize(("by", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ended_while_linux_boots_it_leaves_nothing(start: Callable[..., Demo], by: signal.Signals, status: int) -> None:
    demo = start()
    demo.read_until(BOOTING)
    demo.qemu()
    demo.process.send_signal(by)
    assert (status, []) == (demo.end(), demo.remains())
    assert demo.output.endswith("demo: stopped; everything it made is gone\n")


def test_a_qemu_that_dies_ends_it_with_an_error_and_nothing_is_left(start: Callable[..., Demo]) -> None:
    demo = start()
    demo.read_until("demo: ping, LAN to Linux")
    os.kill(demo.qemu(), signal.SIGKILL)
    assert (1, []) == (demo.end(), demo.remains())
    assert re.search(r"(?m)^demo: QEMU ended during ", demo.output)

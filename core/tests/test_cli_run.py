"""`etherloom run` as a process of its own: events, signals, tear-down, the live table."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# A program with kinds of its own, since core's tests have no plugin installed. `mem` writes its life to a file.
PROGRAM = """
import os, sys
import attrs
from etherloom import HostError, NetClientKind
from etherloom.cli import main
from etherloom.config.options import option
from etherloom.plugins.registry import Registry
from etherloom.testing import MemoryPeer

@attrs.frozen(kw_only=True)
class Options:
    sends: int = option(default=0, help="frames to send at once")
    dies: bool = option(default=False, help="raise in start")
    refused: bool = option(default=False, help="be refused by the host in start")
    hangs: bool = option(default=False, help="never return from close")
    netdev: str | None = option(default=None, help="peer")

class Mem(MemoryPeer):
    async def start(self):
        self.send_all([bytes(60)] * self.options.sends)
        if self.options.dies:
            raise ValueError("no more")
        if self.options.refused:
            raise HostError("run the script", 1)
    def close(self):
        print("closed", self.name, file=sys.stderr, flush=True)
        while self.options.hangs:
            pass

def init(options, name, peer, context):
    client = Mem(name, context)
    client.options = options
    return client

ROWS = [NetClientKind(kind="mem", options=Options, init=init, summary="memory")]
Registry.discover = classmethod(lambda cls: Registry(ROWS))
main()
"""

# Of a session of its own: the terminal on stdin becomes its controlling one; the hang-up is ignored, as by nohup.
TAKE_TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
IGNORE_SIGHUP = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"


class Process:
    """One `etherloom run`. Reads its lines as they come, so that nothing is ever slept for."""

    def __init__(
        self, *arguments: str, prelude: str = "", stdin: int | None = None, stdout: int = subprocess.PIPE
    ) -> None:
        command = [sys.executable, "-c", prelude + PROGRAM, "run", *arguments]
        self.process = subprocess.Popen(
            command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, text=True, start_new_session=bool(prelude)
        )

    def events(self) -> Iterator[dict[str, Any]]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield json.loads(line)

    def until(self, name: str) -> dict[str, Any]:
        """The next event of that name."""
        return next(event for event in self.events() if event["event"] == name)

    def end(self) -> tuple[int, str]:
        """Its exit code and the rest of its stderr."""
        _, stderr = self.process.communicate(timeout=20)
        return self.process.returncode, stderr


@pytest.fixture
def start() -> Iterator[Any]:
    started: list[Process] = []

    def start(*arguments: str, **streams: Any) -> Process:
        started.append(Process(*arguments, **streams))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_tears_down_and_ends_with_exit_code_0(start: Any, number: signal.Signals) -> None:
    run = start("--json", "-netdev", "mem,id=a", "-netdev", "mem,id=b")
    run.until("ready")
    run.process.send_signal(number)
    assert number.name == run.until("stop")["reason"]
    assert (0, "closed b\nclosed a\n") == run.end()


def test_the_second_signal_ends_a_tear_down_that_hangs(start: Any) -> None:
    run = start("--json", "-netdev", "mem,id=a,hangs=on")
    run.until("ready")
    run.process.send_signal(signal.SIGINT)
    assert "closed a\n" == run.process.stderr.readline()
    run.process.send_signal(signal.SIGINT)
    assert -signal.SIGINT == run.end()[0]


def test_it_stops_by_itself_after_the_time_it_was_given(start: Any) -> None:
    run = start("--json", "--for", "0.05", "-netdev", "mem,id=a")
    assert ["start", "warning", "ready", "stop", "end"] == [event["event"] for event in run.events()]
    assert 0 == run.end()[0]


def test_the_counters_are_the_last_json_line(start: Any) -> None:
    run = start("--json", "--for", "0.05", "-netdev", "mem,id=a,sends=3", "-netdev", "mem,id=b,netdev=a")
    a, b = run.until("end")["clients"]
    assert ("a", "mem", "b", 3, 180, {}) == tuple(
        a[key] for key in ("name", "kind", "peer", "tx_frames", "tx_bytes", "drops")
    )
    assert ("b", 3, 180) == (b["name"], b["rx_frames"], b["rx_bytes"])


def test_a_client_that_fails_is_an_event_and_the_others_run_on(start: Any) -> None:
    run = start("--json", "-netdev", "mem,id=a,dies=on", "-netdev", "mem,id=b")
    failed = run.until("failed")
    assert ("a", "ValueError: no more") == (failed["client"], failed["error"])
    run.process.send_signal(signal.SIGTERM)
    assert ["failed", "up"] == [client["link"] for client in run.until("end")["clients"]]
    assert 0 == run.end()[0]


def test_a_client_that_the_host_refuses_later_is_an_event_and_one_line(start: Any) -> None:
    run = start("--json", "-netdev", "mem,id=a,refused=on", "-netdev", "mem,id=b")
    failed = run.until("failed")
    assert ("a", "HostError: cannot run the script: Operation not permitted") == (failed["client"], failed["error"])
    run.process.send_signal(signal.SIGTERM)
    code, stderr = run.end()
    refusal = "etherloom: a is taken down: cannot run the script: Operation not permitted"
    assert (0, [refusal, "closed a", "closed b"]) == (code, stderr.splitlines())


def test_without_a_terminal_there_is_a_line_per_event_and_a_summary_on_stderr(start: Any) -> None:
    run = start("--for", "0", "-netdev", "mem,id=a,sends=2")
    stdout, stderr = run.process.communicate(timeout=20)
    assert ["start", "warning", "ready", "stop"] == [line.split()[1] for line in stdout.splitlines()]
    client, kind, *figures, _, reason = stderr.splitlines()[-1].split()
    assert ("a", "mem", ["0", "0", "0", "0"], "no-peer") == (client, kind, figures, reason)


def test_when_nobody_reads_its_lines_any_more_it_tears_down(start: Any) -> None:
    run = start("--json", "-netdev", "mem,id=a", "-netdev", "mem,id=b")
    run.until("ready")
    run.process.stdout.close()
    run.process.stdout = None
    run.process.send_signal(signal.SIGTERM)
    assert (0, "closed b\nclosed a\n") == run.end()


def test_sighup_reads_the_file_again_and_touches_only_what_differs(start: Any, tmp_path: Path) -> None:
    lab = tmp_path / "lab.toml"
    lab.write_text('[netdev.a]\ntype = "mem"\n[netdev.b]\ntype = "mem"\n')
    run = start("--json", str(lab))
    run.until("ready")
    lab.write_text('[netdev.a]\ntype = "mem"\n[netdev.c]\ntype = "mem"\n')
    run.process.send_signal(signal.SIGHUP)
    assert ("b", "c") == (run.until("removed")["client"], run.until("added")["client"])
    assert 2 == run.until("reloaded")["clients"]
    lab.write_text("[netdev.a]\n")
    run.process.send_signal(signal.SIGHUP)
    assert f"{lab}: [netdev.a]: type: is missing (allowed: mem)" == run.until("refused")["error"]
    run.process.send_signal(signal.SIGTERM)
    assert ["a", "c"] == [client["name"] for client in run.until("end")["clients"]]


def test_sighup_stops_what_no_file_describes(start: Any) -> None:
    run = start("--json", "-netdev", "mem,id=a")
    run.until("ready")
    run.process.send_signal(signal.SIGHUP)
    assert "SIGHUP" == run.until("stop")["reason"]
    assert (0, "closed a\n") == run.end()


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A file with one client, `a`."""
    lab = tmp_path / "lab.toml"
    lab.write_text('[netdev.a]\ntype = "mem"\n')
    return lab


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Our end of a terminal, which the test closes, and the end of who is to run on it."""
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(theirs)


def shown_until(terminal: int, word: bytes) -> None:
    """Read what stands on the terminal up to `word`."""
    screen = b""
    while word not in screen:
        screen += os.read(terminal, 4096)


def test_a_run_ends_with_its_terminal_though_its_file_could_be_read_again(
    start: Any, lab: Path, terminal: tuple[int, int]
) -> None:
    ours, theirs = terminal
    run = start("--no-table", str(lab), prelude=TAKE_TERMINAL, stdin=theirs, stdout=theirs)
    shown_until(ours, b"ready")
    run.process.send_signal(signal.SIGHUP)  # somebody's, not the terminal's
    shown_until(ours, b"reloaded")
    os.close(ours)
    code, stderr = run.end()
    assert (0, ["closed a", "a"]) == (code, [stderr.splitlines()[0], stderr.splitlines()[-1].split()[0]])


def test_under_nohup_a_run_outlives_its_terminal(start: Any, lab: Path, terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    run = start("--json", str(lab), prelude=TAKE_TERMINAL + IGNORE_SIGHUP, stdin=theirs)
    run.until("ready")
    os.close(ours)
    run.process.send_signal(signal.SIGTERM)
    assert "SIGTERM" == run.until("stop")["reason"]
    assert (0, "closed a\n") == run.end()


def test_a_terminal_gets_a_live_table_which_is_drawn_to_the_end(start: Any) -> None:
    ours, theirs = pty.openpty()
    try:
        run = start("-netdev", "mem,id=left,sends=5", "-netdev", "mem,id=right,netdev=left", stdout=theirs)
        os.close(theirs)
        screen = b""
        while b"ready" not in screen:
            screen += os.read(ours, 4096)
        run.process.send_signal(signal.SIGINT)
        while b"SIGINT" not in screen:
            screen += os.read(ours, 4096)
        code, stderr = run.end()
    finally:
        os.close(ours)
    assert b"left" in screen
    assert (0, ["left", "mem", "5", "300", "0", "0", "0"]) == (code, stderr.splitlines()[-2].split())

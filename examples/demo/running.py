"""`etherloom run` on a configuration that grows while it runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from etherloom import HostError
from etherloom_tap.lab import Namespace
from examples.demo.outcome import Report
from examples.demo.traffic import ping

__all__ = ["Running", "running"]

READY_S, POLL_S = 5.0, 0.01


class Running:
    """The process, its configuration and what it writes. Made by `running`.

    None of the files has a name, so that none is left behind even by kill -9; the process opens them through /proc.
    """

    def __init__(self, host: Namespace, config: IO[str], report: IO[str], said: IO[str], fds: tuple[int, ...]) -> None:
        self._host, self._config, self._report, self._said = host, config, report, said
        program = str(Path(sys.executable).with_name("etherloom"))
        command = [program, "run", "--report", _path(report), _path(config)]
        self._process = host.start(command, pass_fds=[config.fileno(), report.fileno(), *fds], stderr=said)

    def add(self, tables: str) -> None:
        """Write more tables to the configuration and have it read again: what is new comes, everything else runs on."""
        self._config.write("\n" + tables)
        self._config.flush()
        self._process.send_signal(signal.SIGHUP)

    def await_answer(self, icmp: socket.socket, address: str) -> None:
        """Ping until there is an answer.

        Raises:
            HostError: There is none; it has what the process said.
        """
        self._await(lambda: bool(ping(icmp, address, 1, 0.01, lambda _: None).round_trips_us), "no answer")

    def await_file(self, path: Path) -> None:
        """Wait for a file that the process makes.

        Raises:
            HostError: There is none; it has what the process said.
        """
        self._await(path.exists, f"no {path}")

    def _await(self, there: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + READY_S
        while not there():
            if self._process.poll() is not None or time.monotonic() > deadline:
                words = os.pread(self._said.fileno(), 4096, 0).decode().strip().removeprefix("etherloom: ")
                raise HostError("pass frames through etherloom run", remedy=words or f"{complaint} in {READY_S:g} s")
            time.sleep(POLL_S)

    def stop(self) -> Report:
        """End it, as Ctrl-C would, for its report."""
        self._host.stop(self._process)
        self._report.seek(0)
        report = json.load(self._report)
        return Report.of(report["clients"], report["devices"])


@contextmanager
def running(host: Namespace, tables: str, fds: tuple[int, ...] = ()) -> Iterator[Running]:
    """Start it; the lab of `host` ends it.

    Args:
        host: Where.
        tables: TOML.
        fds: Open descriptors that the configuration speaks of.
    """
    with tempfile.TemporaryFile("w+") as config, tempfile.TemporaryFile("w+") as report:
        config.write(tables)
        config.flush()
        with tempfile.TemporaryFile("w+") as said:
            yield Running(host, config, report, said, fds)


def _path(file: IO[str]) -> str:
    return f"/proc/self/fd/{file.fileno()}"
